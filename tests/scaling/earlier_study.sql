-- A study of version 0.1, as Optuna stored it in SQLite; tables without influence on results are left out.
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO studies VALUES(1,'study');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_user_attributes VALUES(1,1,'experiment','{"base": {"type": "Network", "name": "cifar_resnet8|scale:w=0.5|resolution:8|channels:1", "stem": {"type": "Stem", "out": 8}, "stages": [{"type": "Stage", "name": "stage1", "block": {"type": "BasicBlock", "out": 8, "shortcut": "zero-pad"}}, {"type": "Stage", "name": "stage2", "block": {"type": "BasicBlock", "out": 16, "stride": 2, "shortcut": "zero-pad"}}, {"type": "Stage", "name": "stage3", "block": {"type": "BasicBlock", "out": 32, "stride": 2, "shortcut": "zero-pad"}}], "head": {"type": "Classifier"}, "resolution": 8, "channels": 1, "classes": 10, "papers": [{"type": "Paper", "title": "Deep Residual Learning for Image Recognition", "authors": "He et al.", "year": 2016, "arxiv": "1512.03385"}]}, "entrants": [{"name": "cifar_resnet8|scale:w=0.5|resolution:8|channels:1", "group": "compound", "place": {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}, "macs": 189248, "network": {"type": "Network", "name": "cifar_resnet8|scale:w=0.5|resolution:8|channels:1", "stem": {"type": "Stem", "out": 8}, "stages": [{"type": "Stage", "name": "stage1", "block": {"type": "BasicBlock", "out": 8, "shortcut": "zero-pad"}}, {"type": "Stage", "name": "stage2", "block": {"type": "BasicBlock", "out": 16, "stride": 2, "shortcut": "zero-pad"}}, {"type": "Stage", "name": "stage3", "block": {"type": "BasicBlock", "out": 32, "stride": 2, "shortcut": "zero-pad"}}], "head": {"type": "Classifier"}, "resolution": 8, "channels": 1, "classes": 10, "papers": [{"type": "Paper", "title": "Deep Residual Learning for Image Recognition", "authors": "He et al.", "year": 2016, "arxiv": "1512.03385"}]}}, {"name": "cifar_resnet8|scale:w=0.25|resolution:8|channels:1", "group": "compound", "place": {"alpha": 2.0, "beta": 1.0, "gamma": 1.0}, "macs": 110752, "network": {"type": "Network", "name": "cifar_resnet8|scale:w=0.25|resolution:8|channels:1", "stem": {"type": "Stem", "out": 8}, "stages": [{"type": "Stage", "name": "stage1", "block": {"type": "BasicBlock", "out": 8, "shortcut": "zero-pad"}}, {"type": "Stage", "name": "stage2", "block": {"type": "BasicBlock", "out": 8, "stride": 2, "shortcut": "zero-pad"}}, {"type": "Stage", "name": "stage3", "block": {"type": "BasicBlock", "out": 16, "stride": 2, "shortcut": "zero-pad"}}], "head": {"type": "Classifier"}, "resolution": 8, "channels": 1, "classes": 10, "papers": [{"type": "Paper", "title": "Deep Residual Learning for Image Recognition", "authors": "He et al.", "year": 2016, "arxiv": "1512.03385"}]}}, {"name": "cifar_seresnet8|scale:w=0.5|resolution:8|channels:1", "group": "compound", "place": {"alpha": 3.0, "beta": 1.0, "gamma": 1.0}, "macs": 190144, "network": {"type": "Network", "name": "cifar_seresnet8|scale:w=0.5|resolution:8|channels:1", "stem": {"type": "Stem", "out": 8}, "stages": [{"type": "Stage", "name": "stage1", "block": {"type": "BasicBlock", "out": 8, "shortcut": "zero-pad", "se": {"type": "SE"}}}, {"type": "Stage", "name": "stage2", "block": {"type": "BasicBlock", "out": 16, "stride": 2, "shortcut": "zero-pad", "se": {"type": "SE"}}}, {"type": "Stage", "name": "stage3", "block": {"type": "BasicBlock", "out": 32, "stride": 2, "shortcut": "zero-pad", "se": {"type": "SE"}}}], "head": {"type": "Classifier"}, "resolution": 8, "channels": 1, "classes": 10, "papers": [{"type": "Paper", "title": "Deep Residual Learning for Image Recognition", "authors": "He et al.", "year": 2016, "arxiv": "1512.03385"}, {"type": "Paper", "title": "Squeeze-and-Excitation Networks", "authors": "Hu et al.", "year": 2018, "arxiv": "1709.01507"}]}}], "schedule": {"candidates": 3, "epochs": 0.5, "rungs": 2, "keep": 2, "seeds": 2}, "data": "digits", "fingerprint": "ddd073502cf4119fbefa6481cc6c5c6d", "recipe": "fast", "fields": {"progressive": 0.0}, "options": {}, "tested": false}');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO trials VALUES(1,0,1,'COMPLETE','2025-01-01 00:00:00.000000','2025-01-01 00:00:00.000000');
INSERT INTO trials VALUES(2,1,1,'COMPLETE','2025-01-01 00:00:00.000000','2025-01-01 00:00:00.000000');
INSERT INTO trials VALUES(3,2,1,'FAIL','2025-01-01 00:00:00.000000','2025-01-01 00:00:00.000000');
INSERT INTO trials VALUES(4,3,1,'RUNNING','2025-01-01 00:00:00.000000',NULL);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_user_attributes VALUES(1,1,'task','[0, 0, 0.25]');
INSERT INTO trial_user_attributes VALUES(2,1,'network','"cifar_resnet8|scale:w=0.5|resolution:8|channels:1"');
INSERT INTO trial_user_attributes VALUES(3,1,'worker','{"host": "elsewhere", "process": 7, "started": "1"}');
INSERT INTO trial_user_attributes VALUES(4,1,'outcome','{"accuracy": 0.875, "loss": 0.4, "test_accuracy": null, "train_seconds": 1.5, "seconds": 2.5, "diverged": null}');
INSERT INTO trial_user_attributes VALUES(5,2,'task','[1, 0, 0.25]');
INSERT INTO trial_user_attributes VALUES(6,2,'network','"cifar_resnet8|scale:w=0.25|resolution:8|channels:1"');
INSERT INTO trial_user_attributes VALUES(7,2,'worker','{"host": "elsewhere", "process": 7, "started": "1"}');
INSERT INTO trial_user_attributes VALUES(8,2,'outcome','{"accuracy": 0.0, "loss": null, "test_accuracy": null, "train_seconds": 0.0, "seconds": 0.5, "diverged": "the loss became nan"}');
INSERT INTO trial_user_attributes VALUES(9,3,'task','[2, 0, 0.25]');
INSERT INTO trial_user_attributes VALUES(10,3,'network','"cifar_seresnet8|scale:w=0.5|resolution:8|channels:1"');
INSERT INTO trial_user_attributes VALUES(11,3,'worker','{"host": "elsewhere", "process": 7, "started": "1"}');
INSERT INTO trial_user_attributes VALUES(12,4,'task','[2, 0, 0.25]');
INSERT INTO trial_user_attributes VALUES(13,4,'network','"cifar_seresnet8|scale:w=0.5|resolution:8|channels:1"');
INSERT INTO trial_user_attributes VALUES(14,4,'worker','{"host": "elsewhere", "process": 7, "started": "1"}');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
