-- Revision 0002: keys an administrator trusts, and who signed a version.
-- Calls: nothing. Tables: creates rescore.trusted_keys, adds columns to rescore.models.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.trusted_keys (
    name TEXT NOT NULL,
    public_key BYTEA NOT NULL,
    added_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    added_by TEXT DEFAULT SESSION_USER NOT NULL,
    PRIMARY KEY (name),
    UNIQUE (public_key),
    CONSTRAINT trusted_keys_name_check CHECK (octet_length(name) BETWEEN 1 AND 63),
    CONSTRAINT trusted_keys_public_key_check CHECK (octet_length(public_key) = 32)
);

COMMENT ON TABLE rescore.trusted_keys IS 'Ed25519 keys whose signatures publishing asks for; while there is none, it asks for no signature';
COMMENT ON COLUMN rescore.trusted_keys.name IS 'Name of the key, kept with the versions it signed';
COMMENT ON COLUMN rescore.trusted_keys.public_key IS 'The public key, 32 bytes';
COMMENT ON COLUMN rescore.trusted_keys.added_at IS 'When it was registered';
COMMENT ON COLUMN rescore.trusted_keys.added_by IS 'Who registered it';

ALTER TABLE rescore.models
    ADD COLUMN signature BYTEA,
    ADD COLUMN signed_by TEXT,
    ADD CONSTRAINT models_signature_check CHECK (octet_length(signature) = 64);

COMMENT ON COLUMN rescore.models.signature IS 'Ed25519 signature it was published with; null when no keys were registered';
COMMENT ON COLUMN rescore.models.signed_by IS 'Name of the key that signed it; null when no keys were registered';
