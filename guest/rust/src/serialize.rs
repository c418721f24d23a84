//! Serializes counters and summaries with serde.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::{PoolStats, Summary};

/// Implements `Serialize` for a struct, with the named fields, which must be all of them.
macro_rules! serialize {
    ($name:ident { $($field:ident,)* }) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $name { $($field),* } = self;
                let length = [$(stringify!($field)),*].len();
                let mut fields = serializer.serialize_struct(stringify!($name), length)?;
                $(fields.serialize_field(stringify!($field), $field)?;)*
                fields.end()
            }
        }
    };
}

serialize!(PoolStats {
    connections_created,
    connections_reused,
    connections_closed,
    hits,
    misses,
    idle,
    max_size,
    in_use,
    waiting,
    timeouts,
    wait_time_ns,
    rolled_back,
    discarded,
    abandoned,
    writers_waiting,
    writer_timeouts,
    writer_wait_time_ns,
    groups,
    grouped_statements,
});

serialize!(Summary {
    changes,
    last_insert_rowid,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_serialize_by_name() {
        let stats = PoolStats {
            connections_created: 1,
            connections_reused: 2,
            connections_closed: 3,
            hits: 4,
            misses: 5,
            idle: 6,
            max_size: 7,
            in_use: 8,
            waiting: 9,
            timeouts: 10,
            wait_time_ns: 11,
            rolled_back: 12,
            discarded: 13,
            abandoned: u64::MAX,
            writers_waiting: 14,
            writer_timeouts: 15,
            writer_wait_time_ns: 16,
            groups: 17,
            grouped_statements: 18,
        };
        let json = serde_json::to_value(stats).unwrap();
        assert_eq!(json.as_object().map(|fields| fields.len()), Some(19));
        assert_eq!(json["connections_created"], 1);
        assert_eq!(json["max_size"], 7);
        assert_eq!(json["abandoned"], u64::MAX);

        let summary = Summary {
            changes: 2,
            last_insert_rowid: -1,
        };
        let json = serde_json::to_value(summary).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"changes": 2, "last_insert_rowid": -1})
        );
    }
}
