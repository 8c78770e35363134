-- The tag that a semver range came to when the newest revision was seen: without it nobody could tell that the range went back.
ALTER TABLE fleets ADD COLUMN seen_tag text;
