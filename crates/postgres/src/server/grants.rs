//! What to grant to a role that may not do something, read off the server's own words: they name the object.

/// The statement that gives the pipeline's role what it lacks, as advice behind a message; the general word where the
/// server names nothing that this program asks for.
pub(crate) fn advice(said: &str) -> String {
    const GENERAL: &str = "; grant the pipeline's role what is missing (docs/privileges.md)";
    let Some((_, object)) = said.split_once("permission denied for ") else {
        let owned = said.strip_prefix("must be owner of ").and_then(|object| object.split_once(' '));
        return owned.map_or_else(
            || GENERAL.to_owned(),
            |(kind, name)| {
                // Statements know no relations; every other kind is spelled as they spell it.
                let kind = if matches!(kind, "relation" | "table") { "TABLE" } else { kind };
                format!(
                    "; let the owner run what is missing, or hand it over: ALTER {kind} {name} OWNER TO <postgres.user>"
                )
            },
        );
    };
    let Some((kind, name)) = object.split_once(' ') else { return GENERAL.to_owned() };
    let privileges = match kind {
        "database" => "CONNECT, CREATE ON DATABASE",
        "schema" => "USAGE, CREATE ON SCHEMA",
        "table" | "relation" => "SELECT, INSERT, UPDATE, DELETE ON TABLE",
        "sequence" => "USAGE ON SEQUENCE",
        "function" => "EXECUTE ON FUNCTION",
        "type" => "USAGE ON TYPE",
        _ => return GENERAL.to_owned(),
    };
    format!("; as its owner: GRANT {privileges} {name} TO <postgres.user>")
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn the_statement_names_the_object_that_the_server_named() {
        let rows = [
            ("permission denied for schema cdc", "GRANT USAGE, CREATE ON SCHEMA cdc TO <postgres.user>"),
            (
                "permission denied for database analytics_db",
                "GRANT CONNECT, CREATE ON DATABASE analytics_db TO",
            ),
            (
                "permission denied for table orders",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE orders TO <postgres.user>",
            ),
            ("must be owner of table orders", "ALTER TABLE orders OWNER TO <postgres.user>"),
            ("must be owner of table relations", "ALTER TABLE relations OWNER TO <postgres.user>"),
            ("must be owner of relation tables", "ALTER TABLE tables OWNER TO <postgres.user>"),
            ("must be owner of view tables", "ALTER view tables OWNER TO <postgres.user>"),
            ("permission denied for language c", "docs/privileges.md"),
            ("new row violates row-level security policy for table \"notes\"", "docs/privileges.md"),
        ];
        for (said, expected) in rows {
            let words = advice(said);
            assert!(words.contains(expected), "{said}: {words}");
        }
    }
}
