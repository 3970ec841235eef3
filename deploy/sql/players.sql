-- The target table of the design document's example: player data of a game.
CREATE TABLE players (
    id VARCHAR(24) PRIMARY KEY,           -- MongoDB _id as string
    username VARCHAR(255) NOT NULL,
    level INTEGER NOT NULL DEFAULT 1,
    score BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL DEFAULT NOW(),

    -- Metadata fields
    cdc_operation VARCHAR(20),            -- insert, update, replace
    cdc_timestamp TIMESTAMP NOT NULL,     -- When CDC processed this

    -- Indexes for query performance
    CONSTRAINT unique_username UNIQUE (username)
);

CREATE INDEX idx_players_level ON players(level);
CREATE INDEX idx_players_score ON players(score DESC);
CREATE INDEX idx_players_created_at ON players(created_at);
