-- The last step of an install: write down what the schema looks like now, for pgqueue.drift().
delete from pgqueue.installed_objects;
insert into pgqueue.installed_objects (kind, name, fingerprint) select c.kind, c.name, c.fingerprint from pgqueue.catalogue() c;
