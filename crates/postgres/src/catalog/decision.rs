//! What the pipeline does with each column of a table: the one place that says so.

use std::collections::BTreeSet;

use crate::catalog::claim::Kind;
use crate::catalog::columns::Described;
use crate::mapping::{Deletes, FieldPath, TableMapping};
use crate::table::column::{ClosedBecause, ColumnDefault, Origin};
use crate::table::column_type::ColumnType;

/// What becomes of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The pipeline writes it, from this place of the document where it comes from one.
    Written { origin: Origin, path: FieldPath, coerced: bool },
    /// Neither written nor looked at.
    LeftAlone(&'static str),
    /// No document may have a field for it.
    Closed(ClosedBecause),
}

/// Decides what becomes of a column.
///
/// # Errors
/// In words, where the configuration or the pipeline wants something of it that it cannot take: then nothing of the table is
/// written.
pub(crate) fn decide(column: &Described, kind: Kind, mapping: &TableMapping) -> Result<Decision, String> {
    let (origin, path) = match role(&column.name, kind, mapping) {
        Role::Written(origin, path) => (origin, path),
        Role::Left(why) => return Ok(Decision::LeftAlone(why)),
    };
    // Columns that others added to a mirror are never looked at. One that is called `updated_at` is the pipeline's where it
    // can hold what the pipeline would put there.
    if kind == Kind::Mirror
        && (origin == Origin::Field || origin == Origin::UpdatedAt && check_type(column, origin).is_err())
    {
        return Ok(Decision::LeftAlone("others added it to a mirror"));
    }
    let coerced = mapping.coerce.contains(&column.name);
    if coerced && !takes_spellings(&column.column_type) {
        return Err(format!(
            "coerce names column {} of type {}; it is for uuid, timestamp, date and boolean, and arrays of them",
            column.name,
            column.column_type.name()
        ));
    }
    if let Some(because) = closed_because(column).filter(|_| origin == Origin::Field) {
        if mapping.columns.is_none() {
            return Ok(Decision::Closed(because));
        }
        let why = match because {
            ClosedBecause::Generated => "is generated".to_owned(),
            ClosedBecause::AlwaysIdentity => "is GENERATED ALWAYS AS IDENTITY".to_owned(),
            ClosedBecause::Type { name, .. } => {
                format!("is of type {name}, which the pipeline does not write")
            }
        };
        return Err(format!("its column {} {why}, and tables: has it take {path}", column.name));
    }
    check_type(column, origin)?;
    if origin == Origin::Field && path.keys().is_empty() && !is_json(&column.column_type) {
        return Err(format!(
            "its column {} takes the whole document, and has to be json or jsonb",
            column.name
        ));
    }
    Ok(Decision::Written { origin, path, coerced })
}

/// What a column is for.
enum Role {
    Written(Origin, FieldPath),
    Left(&'static str),
}

fn role(name: &str, kind: Kind, mapping: &TableMapping) -> Role {
    if mapping.leave.iter().any(|left| left == name) {
        return Role::Left("leave names it");
    }
    let by_name = || FieldPath::of_field(name);
    let mapped = mapping.columns.as_ref().map(|columns| columns.iter().find(|it| it.column == name));
    if let Some(Some(it)) = mapped {
        return Role::Written(
            if mapping.is_of_id(&it.path) { Origin::Id } else { Origin::Field },
            it.path.clone(),
        );
    }
    let own = match name {
        "updated_at" => Some(Origin::UpdatedAt),
        "cdc_operation" => Some(Origin::Operation),
        "cdc_timestamp" => Some(Origin::WrittenAt),
        "cdc_position" => Some(Origin::Position),
        "cdc_deleted_at" if mapping.deletes == Deletes::Soft => Some(Origin::DeletedAt),
        "document" if kind == Kind::Mirror => Some(Origin::Document),
        "bson_types" if kind == Kind::Mirror => Some(Origin::BsonTypes),
        _ => None,
    };
    match own {
        Some(origin) => Role::Written(origin, by_name()),
        None if name == "cdc_deleted_at" => Role::Left("deletes is not soft"),
        None if mapped.is_some() => Role::Left("columns does not name it"),
        None if name == "id" => Role::Written(Origin::Id, FieldPath::of_field("_id")),
        None => Role::Written(Origin::Field, by_name()),
    }
}

/// The columns that the configuration names and the table lacks.
pub(crate) fn missing<'m>(columns: &[Described], mapping: &'m TableMapping) -> Vec<&'m str> {
    let there: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mapped = mapping.columns.iter().flatten().map(|it| it.column.as_str());
    let named = mapped.chain(mapping.leave.iter().chain(&mapping.coerce).map(String::as_str));
    let soft = (mapping.deletes == Deletes::Soft).then_some("cdc_deleted_at");
    named.chain(soft).filter(|name| !there.contains(name)).collect()
}

fn closed_because(column: &Described) -> Option<ClosedBecause> {
    if column.generated {
        return Some(ClosedBecause::Generated);
    }
    if column.always_identity {
        return Some(ClosedBecause::AlwaysIdentity);
    }
    let ColumnType::Unsupported(name) = &column.column_type else { return None };
    let shows_null = !column.not_null && column.default == ColumnDefault::None;
    Some(ClosedBecause::Type { name: name.clone(), shows_null })
}

fn is_json(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Json | ColumnType::Jsonb)
}

/// True where values can be taken by their spelling, too.
fn takes_spellings(column_type: &ColumnType) -> bool {
    if let ColumnType::Array(array) = column_type {
        return takes_spellings(&array.element);
    }
    matches!(
        column_type,
        ColumnType::Uuid
            | ColumnType::Timestamp { .. }
            | ColumnType::TimestampTz { .. }
            | ColumnType::Date
            | ColumnType::Bool
    )
}

/// The pipeline's own columns must be able to hold what the pipeline puts there.
fn check_type(column: &Described, origin: Origin) -> Result<(), String> {
    if column.generated || column.always_identity {
        return Err(format!(
            "column {} belongs to the pipeline and is generated; make it an ordinary column",
            column.name
        ));
    }
    let (fits, wanted) = match origin {
        Origin::UpdatedAt | Origin::WrittenAt | Origin::DeletedAt => (
            matches!(column.column_type, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }),
            "timestamp or timestamp with time zone",
        ),
        Origin::Operation => (
            matches!(column.column_type, ColumnType::Text { max_chars, .. } if max_chars.is_none_or(|max| max >= 8)),
            "text, or varchar of at least 8 characters",
        ),
        Origin::Position => (column.column_type == ColumnType::Bytea, "bytea"),
        Origin::Document | Origin::BsonTypes => (column.column_type == ColumnType::Jsonb, "jsonb"),
        // An id column has more to it.
        Origin::Id | Origin::Field => (true, ""),
    };
    let nullable = origin != Origin::DeletedAt || !column.not_null;
    if fits && nullable {
        return Ok(());
    }
    let wanted = if nullable { wanted.to_owned() } else { format!("{wanted} that may be NULL") };
    Err(format!(
        "column {} belongs to the pipeline and has type {}, where it has to be {wanted}",
        column.name,
        column.column_type.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::ColumnMapping;

    fn described(name: &str, column_type: ColumnType) -> Described {
        Described {
            name: name.to_owned(),
            column_type,
            domain: false,
            not_null: false,
            generated: false,
            always_identity: false,
            default: ColumnDefault::None,
            untouched: None,
            blurs: false,
        }
    }

    fn decided(name: &str, kind: Kind, mapping: &TableMapping) -> Decision {
        let column_type = match name {
            "cdc_position" => ColumnType::Bytea,
            "updated_at" | "cdc_deleted_at" => ColumnType::TimestampTz { digits: 6 },
            _ => ColumnType::Text { max_chars: None, padded: false },
        };
        decide(&described(name, column_type), kind, mapping).unwrap()
    }

    fn written(origin: Origin, path: &str) -> Decision {
        Decision::Written { origin, path: path.parse().unwrap(), coerced: false }
    }

    fn mapping(columns: &[(&str, &str)]) -> TableMapping {
        let of = |(column, path): &(&str, &str)| ColumnMapping {
            column: (*column).to_owned(),
            path: path.parse().unwrap(),
        };
        TableMapping { columns: Some(columns.iter().map(of).collect()), ..TableMapping::default() }
    }

    #[test]
    fn by_name_each_column_takes_the_field_of_its_name_but_for_the_pipeline_s() {
        let mapping = TableMapping { leave: vec!["note".to_owned()], ..TableMapping::default() };
        for (name, decision) in [
            ("id", written(Origin::Id, "_id")),
            ("name", written(Origin::Field, "name")),
            ("document", written(Origin::Field, "document")),
            ("Updated_At", written(Origin::Field, "Updated_At")),
            ("updated_at", written(Origin::UpdatedAt, "updated_at")),
            ("cdc_position", written(Origin::Position, "cdc_position")),
            ("note", Decision::LeftAlone("leave names it")),
            ("cdc_deleted_at", Decision::LeftAlone("deletes is not soft")),
        ] {
            assert_eq!(decided(name, Kind::Typed, &mapping), decision, "{name}");
        }
    }

    #[test]
    fn mapped_columns_take_what_they_are_told_and_the_others_are_left_alone() {
        let told = mapping(&[("key", "_id"), ("tenant", "_id.tenant"), ("level", "stats.level")]);
        for (name, decision) in [
            ("key", written(Origin::Id, "_id")),
            ("tenant", written(Origin::Field, "_id.tenant")),
            ("level", written(Origin::Field, "stats.level")),
            ("cdc_position", written(Origin::Position, "cdc_position")),
            ("id", Decision::LeftAlone("columns does not name it")),
        ] {
            assert_eq!(decided(name, Kind::Typed, &told), decision, "{name}");
        }
        let composed = mapping(&[("tenant", "_id.tenant"), ("number", "_id.n")]);
        assert_eq!(decided("tenant", Kind::Typed, &composed), written(Origin::Id, "_id.tenant"));
    }

    #[test]
    fn what_a_column_cannot_take_refuses_the_table() {
        let point = described("p", ColumnType::Unsupported("point".to_owned()));
        assert!(matches!(decide(&point, Kind::Typed, &TableMapping::default()), Ok(Decision::Closed(_))));
        let said = decide(&point, Kind::Typed, &mapping(&[("p", "place")])).unwrap_err();
        assert!(said.contains("column p is of type point"), "{said}");
        let number = described("n", ColumnType::Int4);
        let said = decide(&number, Kind::Typed, &mapping(&[("n", "$")])).unwrap_err();
        assert!(said.contains("json or jsonb"), "{said}");
        let coerced = TableMapping { coerce: vec!["n".to_owned()], ..TableMapping::default() };
        let said = decide(&number, Kind::Typed, &coerced).unwrap_err();
        assert!(said.contains("coerce names column n of type integer"), "{said}");
        let soft = TableMapping { deletes: Deletes::Soft, ..TableMapping::default() };
        assert_eq!(missing(&[number], &soft), ["cdc_deleted_at"]);
    }
}
