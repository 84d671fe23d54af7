-- What a device is, as the roster shows it: a word of the wire's list; NULL where nobody has said.

ALTER TABLE devices ADD COLUMN instrument TEXT;
