-- Lists that name a bundle or an object of many clusters: found, and counted, in the index alone. A name by itself led to a page of the table for each of ten thousand.
CREATE INDEX bundle_states_bundle ON bundle_states (fleet, bundle, cluster);
DROP INDEX object_states_name;
CREATE INDEX object_states_name ON object_states (name, fleet, cluster);
