-- A ledger of version 1, as that version made it: its tables, and four jobs.
CREATE TABLE accounts (
	account VARCHAR(200) NOT NULL,
	address TEXT NOT NULL,
	live BOOLEAN NOT NULL,
	concurrency INTEGER NOT NULL,
	run_limit INTEGER NOT NULL,
	run_seconds INTEGER NOT NULL,
	unknown_slot_seconds INTEGER NOT NULL,
	stopped_us BIGINT,
	needed_credits INTEGER,
	balance_credits INTEGER,
	balance_us BIGINT,
	PRIMARY KEY (account)
);
CREATE TABLE counters (
	id INTEGER NOT NULL,
	policy VARCHAR(200) NOT NULL,
	budget VARCHAR(200) NOT NULL,
	scope TEXT NOT NULL,
	start_us BIGINT NOT NULL,
	end_us BIGINT,
	unit VARCHAR(10) NOT NULL,
	"limit" BIGINT NOT NULL,
	granted BIGINT NOT NULL,
	settled BIGINT NOT NULL,
	held BIGINT NOT NULL,
	unknown BIGINT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (policy, budget, scope, start_us)
);
CREATE TABLE entries (
	id INTEGER NOT NULL,
	booked_us BIGINT NOT NULL,
	account VARCHAR(200) NOT NULL,
	shoot VARCHAR(200) NOT NULL,
	"key" VARCHAR(200) NOT NULL,
	take INTEGER NOT NULL,
	state VARCHAR(16) NOT NULL,
	owner VARCHAR(40),
	epoch INTEGER NOT NULL,
	sends INTEGER NOT NULL,
	model VARCHAR(80) NOT NULL,
	resolution VARCHAR(8),
	generation_mode VARCHAR(16),
	num_images INTEGER,
	aspect_ratio VARCHAR(8),
	face_reference BOOLEAN NOT NULL,
	face_reference_mode VARCHAR(20),
	image_reference BOOLEAN NOT NULL,
	seed BIGINT,
	output_format VARCHAR(8),
	return_base64 BOOLEAN,
	labels TEXT NOT NULL,
	billed_mode VARCHAR(16) NOT NULL,
	quoted_credits INTEGER NOT NULL,
	asked_credits INTEGER NOT NULL,
	credits INTEGER NOT NULL,
	estimated BOOLEAN NOT NULL,
	rate_microusd BIGINT NOT NULL,
	price_entry VARCHAR(80) NOT NULL,
	policy VARCHAR(200) NOT NULL,
	policy_digest VARCHAR(64) NOT NULL,
	verdict VARCHAR(16) NOT NULL,
	shadow_verdict VARCHAR(16),
	shadow_credits INTEGER,
	changes TEXT NOT NULL,
	findings TEXT NOT NULL,
	asked_mac VARCHAR(64) NOT NULL,
	final_mac VARCHAR(64) NOT NULL,
	prediction_id VARCHAR(200),
	sent_us BIGINT,
	accepted_us BIGINT,
	ended_us BIGINT,
	slot_until_us BIGINT,
	reason VARCHAR(80),
	outputs INTEGER NOT NULL,
	outputs_home INTEGER NOT NULL,
	outputs_lost BOOLEAN NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX entries_by_key ON entries (account, shoot, "key");
CREATE INDEX entries_by_prediction ON entries (prediction_id);
CREATE INDEX ix_entries_booked_us ON entries (booked_us);
CREATE UNIQUE INDEX one_taken_entry_per_key ON entries (account, shoot, "key", take) WHERE state IN ('accepted', 'held', 'sending', 'settled', 'unknown');
CREATE INDEX open_entries ON entries (account, state) WHERE state IN ('accepted', 'held', 'sending', 'unknown');
CREATE TABLE facts (
	name VARCHAR(40) NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE owners (
	owner VARCHAR(40) NOT NULL,
	host VARCHAR(200) NOT NULL,
	pid INTEGER NOT NULL,
	since_us BIGINT NOT NULL,
	PRIMARY KEY (owner)
);
CREATE TABLE policies (
	digest VARCHAR(64) NOT NULL,
	name VARCHAR(200) NOT NULL,
	text TEXT NOT NULL,
	in_force BOOLEAN NOT NULL,
	since_us BIGINT NOT NULL,
	PRIMARY KEY (digest)
);
CREATE INDEX ix_policies_name ON policies (name);
CREATE TABLE starts (
	id INTEGER NOT NULL,
	account VARCHAR(200) NOT NULL,
	at_us BIGINT NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX starts_by_account ON starts (account, at_us);
CREATE TABLE counted (
	entry INTEGER NOT NULL,
	counter INTEGER NOT NULL,
	PRIMARY KEY (entry, counter),
	FOREIGN KEY(entry) REFERENCES entries (id),
	FOREIGN KEY(counter) REFERENCES counters (id)
);
CREATE INDEX ix_counted_counter ON counted (counter);
CREATE TABLE events (
	seq INTEGER NOT NULL,
	entry INTEGER NOT NULL,
	at_us BIGINT NOT NULL,
	happened VARCHAR(16) NOT NULL,
	state VARCHAR(16) NOT NULL,
	owner VARCHAR(40),
	epoch INTEGER NOT NULL,
	credits INTEGER NOT NULL,
	detail TEXT NOT NULL,
	PRIMARY KEY (seq),
	FOREIGN KEY(entry) REFERENCES entries (id)
);
CREATE INDEX ix_events_entry ON events (entry);
INSERT INTO accounts (account, address, live, concurrency, run_limit, run_seconds, unknown_slot_seconds, stopped_us, needed_credits, balance_credits, balance_us) VALUES ('main', 'http://stand-in', FALSE, 6, 50, 60, 300, NULL, NULL, NULL, NULL);
INSERT INTO counters (id, policy, budget, scope, start_us, end_us, unit, "limit", granted, settled, held, "unknown") VALUES (1, 'studio', 'team-month', '{"team":"social"}', 1793491200000000, 1796083200000000, 'credits', 100, 0, 4, 0, 1);
INSERT INTO counters (id, policy, budget, scope, start_us, end_us, unit, "limit", granted, settled, held, "unknown") VALUES (2, 'studio', 'everything', '{}', 0, NULL, 'microusd', 50000000, 0, 300000, 0, 75000);
INSERT INTO counters (id, policy, budget, scope, start_us, end_us, unit, "limit", granted, settled, held, "unknown") VALUES (3, 'studio', 'team-month', '{"team":"brand"}', 1793491200000000, 1796083200000000, 'credits', 100, 0, 0, 0, 0);
INSERT INTO entries (id, booked_us, account, shoot, key, take, state, owner, epoch, sends, model, resolution, generation_mode, num_images, aspect_ratio, face_reference, face_reference_mode, image_reference, seed, output_format, return_base64, labels, billed_mode, quoted_credits, asked_credits, credits, estimated, rate_microusd, price_entry, policy, policy_digest, verdict, shadow_verdict, shadow_credits, changes, findings, asked_mac, final_mac, prediction_id, sent_us, accepted_us, ended_us, slot_until_us, reason, outputs, outputs_home, outputs_lost) VALUES (1, 1795165200000000, 'main', 'main', 'charged', 1, 'settled', '3d5b485819e045e6bbfc2641dcca92ec', 1, 1, 'model-create', '2k', NULL, NULL, NULL, FALSE, NULL, FALSE, NULL, NULL, NULL, '{"team":"social"}', 'quality', 4, 4, 4, FALSE, 75000, 'fashn@2026-05-01', 'studio', '1a2832d5dbeb40bf5715dd945d7011f96aa65a40648e875f4a743e670da7ee7e', 'allow', NULL, NULL, '[]', '[]', 'b008537a0d98faa3b841bea1b0638c8c132ec57a6e85b4cc20389b817189c877', 'b008537a0d98faa3b841bea1b0638c8c132ec57a6e85b4cc20389b817189c877', '7af99501d828a4b1e65e633cdabbf87d-u1', 1795165200000000, 1795165200050000, 1795165290230000, NULL, NULL, 1, 0, FALSE);
INSERT INTO entries (id, booked_us, account, shoot, key, take, state, owner, epoch, sends, model, resolution, generation_mode, num_images, aspect_ratio, face_reference, face_reference_mode, image_reference, seed, output_format, return_base64, labels, billed_mode, quoted_credits, asked_credits, credits, estimated, rate_microusd, price_entry, policy, policy_digest, verdict, shadow_verdict, shadow_credits, changes, findings, asked_mac, final_mac, prediction_id, sent_us, accepted_us, ended_us, slot_until_us, reason, outputs, outputs_home, outputs_lost) VALUES (2, 1795165290230000, 'main', 'main', 'failed', 1, 'released', '3d5b485819e045e6bbfc2641dcca92ec', 1, 1, 'model-create', NULL, NULL, NULL, NULL, FALSE, NULL, FALSE, NULL, NULL, NULL, '{"team":"brand"}', 'fast', 1, 1, 0, FALSE, 75000, 'fashn@2026-05-01', 'studio', '1a2832d5dbeb40bf5715dd945d7011f96aa65a40648e875f4a743e670da7ee7e', 'allow', NULL, NULL, '[]', '[]', 'c08e34b2de371c7fba97f0e1ad812f92b1e8c4b5a49f32d21fcf3f2e64bccf3f', 'c08e34b2de371c7fba97f0e1ad812f92b1e8c4b5a49f32d21fcf3f2e64bccf3f', '9eace92e84a726f85ff2e68d65488186-u1', 1795165290230000, 1795165290280000, 1795165310320000, NULL, 'ThirdPartyError', 0, 0, FALSE);
INSERT INTO entries (id, booked_us, account, shoot, key, take, state, owner, epoch, sends, model, resolution, generation_mode, num_images, aspect_ratio, face_reference, face_reference_mode, image_reference, seed, output_format, return_base64, labels, billed_mode, quoted_credits, asked_credits, credits, estimated, rate_microusd, price_entry, policy, policy_digest, verdict, shadow_verdict, shadow_credits, changes, findings, asked_mac, final_mac, prediction_id, sent_us, accepted_us, ended_us, slot_until_us, reason, outputs, outputs_home, outputs_lost) VALUES (3, 1795165310320000, 'main', 'main', 'lost', 1, 'unknown', '3d5b485819e045e6bbfc2641dcca92ec', 1, 1, 'model-create', NULL, NULL, NULL, NULL, FALSE, NULL, FALSE, NULL, NULL, NULL, '{"team":"social"}', 'fast', 1, 1, 1, FALSE, 75000, 'fashn@2026-05-01', 'studio', '1a2832d5dbeb40bf5715dd945d7011f96aa65a40648e875f4a743e670da7ee7e', 'allow', NULL, NULL, '[]', '[]', 'c08e34b2de371c7fba97f0e1ad812f92b1e8c4b5a49f32d21fcf3f2e64bccf3f', 'c08e34b2de371c7fba97f0e1ad812f92b1e8c4b5a49f32d21fcf3f2e64bccf3f', NULL, 1795165310320000, NULL, NULL, 1795165610320000, 'ReadError', 0, 0, FALSE);
INSERT INTO entries (id, booked_us, account, shoot, key, take, state, owner, epoch, sends, model, resolution, generation_mode, num_images, aspect_ratio, face_reference, face_reference_mode, image_reference, seed, output_format, return_base64, labels, billed_mode, quoted_credits, asked_credits, credits, estimated, rate_microusd, price_entry, policy, policy_digest, verdict, shadow_verdict, shadow_credits, changes, findings, asked_mac, final_mac, prediction_id, sent_us, accepted_us, ended_us, slot_until_us, reason, outputs, outputs_home, outputs_lost) VALUES (4, 1795165310370000, 'main', 'main', 'waiting', 1, 'waiting', '3d5b485819e045e6bbfc2641dcca92ec', 1, 0, 'model-create', NULL, NULL, NULL, NULL, FALSE, NULL, FALSE, NULL, NULL, NULL, '{"campaign":"ask"}', 'fast', 1, 1, 0, FALSE, 75000, 'fashn@2026-05-01', 'studio', '1a2832d5dbeb40bf5715dd945d7011f96aa65a40648e875f4a743e670da7ee7e', 'needs_approval', NULL, NULL, '[]', '[{"outcome":"needs_approval","rule":"ask-finance"}]', 'c08e34b2de371c7fba97f0e1ad812f92b1e8c4b5a49f32d21fcf3f2e64bccf3f', 'c08e34b2de371c7fba97f0e1ad812f92b1e8c4b5a49f32d21fcf3f2e64bccf3f', NULL, NULL, NULL, 1795165310370000, NULL, NULL, 0, 0, FALSE);
INSERT INTO facts (name, value) VALUES ('version', '1');
INSERT INTO facts (name, value) VALUES ('ledger_id', '84b2815bc18c404aa533a2923a583b2b');
INSERT INTO facts (name, value) VALUES ('salt', '5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a');
INSERT INTO facts (name, value) VALUES ('kind', 'sandbox');
INSERT INTO policies (digest, name, text, in_force, since_us) VALUES ('1a2832d5dbeb40bf5715dd945d7011f96aa65a40648e875f4a743e670da7ee7e', 'studio', '
policy: 1
name: studio
timezone: UTC
otherwise: allow
credit_price: on-demand
labels: {team: any, campaign: any}
budgets:
  - {name: team-month, limit: 100 credits, per: month, for_each: [team], when_exhausted: deny}
  - {name: everything, limit: 50 USD, per: total, when_exhausted: deny}
rules:
  - name: no-4k-drafts
    when: {campaign: draft, resolution: 4k}
    rewrite: {resolution: 2k}
  - name: ask-finance
    when: {campaign: ask}
    needs_approval: finance
', TRUE, 1795165200000000);
INSERT INTO starts (id, account, at_us) VALUES (1, 'main', 1795165200000000);
INSERT INTO starts (id, account, at_us) VALUES (2, 'main', 1795165290230000);
INSERT INTO starts (id, account, at_us) VALUES (3, 'main', 1795165310320000);
INSERT INTO counted (entry, counter) VALUES (1, 1);
INSERT INTO counted (entry, counter) VALUES (1, 2);
INSERT INTO counted (entry, counter) VALUES (2, 3);
INSERT INTO counted (entry, counter) VALUES (2, 2);
INSERT INTO counted (entry, counter) VALUES (3, 1);
INSERT INTO counted (entry, counter) VALUES (3, 2);
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (1, 1, 1795165200000000, 'admitted', 'sending', '3d5b485819e045e6bbfc2641dcca92ec', 1, 4, '{}');
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (2, 1, 1795165200050000, 'accepted', 'accepted', '3d5b485819e045e6bbfc2641dcca92ec', 1, 4, '{}');
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (3, 1, 1795165290230000, 'charged', 'settled', '3d5b485819e045e6bbfc2641dcca92ec', 1, 4, '{}');
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (4, 2, 1795165290230000, 'admitted', 'sending', '3d5b485819e045e6bbfc2641dcca92ec', 1, 1, '{}');
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (5, 2, 1795165290280000, 'accepted', 'accepted', '3d5b485819e045e6bbfc2641dcca92ec', 1, 1, '{}');
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (6, 2, 1795165310320000, 'failed', 'released', '3d5b485819e045e6bbfc2641dcca92ec', 1, 0, '{"reason":"ThirdPartyError"}');
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (7, 3, 1795165310320000, 'admitted', 'sending', '3d5b485819e045e6bbfc2641dcca92ec', 1, 1, '{}');
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (8, 3, 1795165310370000, 'lost', 'unknown', '3d5b485819e045e6bbfc2641dcca92ec', 1, 1, '{"reason":"ReadError"}');
INSERT INTO events (seq, entry, at_us, happened, state, owner, epoch, credits, detail) VALUES (9, 4, 1795165310370000, 'waiting', 'waiting', '3d5b485819e045e6bbfc2641dcca92ec', 1, 0, '{}');
