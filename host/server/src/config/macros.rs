//! `settings!` and `choices!`: one declaration of each setting, from which come its type and
//! default, the documentation of the crate, reading, writing and checking, the JSON schema, the
//! file of `millpond init`, and the reference.

/// Declares a table of settings: a struct with a field for each key of the file.
///
/// After the type of a field follows what holds if the file does not have the key: `default VALUE`,
/// `unset "MEANING"`, or `required "EXAMPLE"`; then, where they exist, `from VALUE to VALUE`, the
/// bounds, and `example VALUE`. Lists and tables have examples as TOML.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty, $presence:ident $shown:literal
                $(, from $from:literal to $to:literal)?
                $(, example $example:literal)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = crate::config::macros::about_presence!($presence $shown)]
                $(#[doc = concat!("Bounds: `", $from, "` to `", $to, "`.")])?
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> $name {
                $name {
                    $($field: crate::config::macros::initial!($presence $shown $type),)+
                }
            }
        }

        impl crate::config::setting::Setting for $name {
            fn kind() -> crate::config::setting::Kind {
                use crate::config::setting;
                setting::Kind::Table(setting::Table {
                    about: setting::paragraphs(&[$($about),+]),
                    keys: vec![$(setting::Described {
                        name: setting::key(stringify!($field)),
                        about: setting::paragraphs(&[$($doc),+]),
                        kind: <$type as setting::Setting>::kind(),
                        presence: crate::config::macros::presence!($presence $shown),
                        bounds: None$(.or(Some(setting::Bounds {
                            from: $from.into(),
                            to: $to.into(),
                        })))?,
                        example: None$(.or(Some($example.into())))?,
                    }),+],
                })
            }

            fn read(
                value: &crate::config::setting::Value<'_>,
                folder: &std::path::Path,
                report: &mut crate::config::report::Report,
            ) -> Option<$name> {
                use crate::config::setting;
                let keys = [$(setting::key(stringify!($field))),+];
                let table = crate::config::values::table(value, &keys, report)?;
                let mut read = <$name>::default();
                let mut keys = keys.iter();
                $({
                    let key = keys.next().map(String::as_str).unwrap_or_default();
                    let found = table.get(key).and_then(|value| report.under(key, |report| {
                        <$type as setting::Setting>::read(value, folder, report)
                    }));
                    if let Some(found) = found {
                        read.$field = found;
                    }
                })+
                Some(read)
            }

            fn write(&self) -> Option<crate::config::setting::Written> {
                use crate::config::setting;
                let unchanged = <$name>::default();
                let mut written = Vec::new();
                $(if self.$field != unchanged.$field {
                    let value = self.$field.write();
                    written.extend(value.map(|value| (setting::key(stringify!($field)), value)));
                })+
                Some(setting::Written::Table(written))
            }

            fn check(
                &self,
                _: Option<&crate::config::setting::Bounds>,
                report: &mut crate::config::report::Report,
            ) {
                use crate::config::setting::{self, Bounds};
                $(report.under(&*setting::key(stringify!($field)), |report| {
                    crate::config::macros::require!($presence self.$field, $type, report);
                    let bounds: Option<Bounds> = None$(.or(Some(Bounds {
                        from: $from.into(),
                        to: $to.into(),
                    })))?;
                    self.$field.check(bounds.as_ref(), report);
                });)+
            }
        }
    };
}

/// What the documentation of a field says if it is not in the file.
macro_rules! about_presence {
    (default $value:literal) => {
        concat!("Defaults to `", $value, "`.")
    };
    (unset $meaning:literal) => {
        concat!("If unset: ", $meaning, ".")
    };
    (required $example:literal) => {
        "Required."
    };
}

/// The value of a field that is not in the file.
macro_rules! initial {
    (default $value:literal $type:ty) => {
        <$type as crate::config::setting::Setting>::literal(&$value.into())
            .expect("a test reads all defaults")
    };
    (unset $meaning:literal $type:ty) => {
        Default::default()
    };
    (required $example:literal $type:ty) => {
        Default::default()
    };
}

macro_rules! presence {
    (default $value:literal) => {
        crate::config::setting::Presence::Default($value.into())
    };
    (unset $meaning:literal) => {
        crate::config::setting::Presence::Unset($meaning.into())
    };
    (required $example:literal) => {
        crate::config::setting::Presence::Required($example.into())
    };
}

/// Report a required setting that is not there.
macro_rules! require {
    (required $value:expr, $type:ty, $report:ident) => {
        if $value == <$type>::default() {
            let kind = crate::config::problem::ProblemKind::MissingKey;
            $report.key(kind, "it is missing, and must be written");
        }
    };
    ($presence:ident $value:expr, $type:ty, $report:ident) => {};
}

/// Makes an enum a setting: a text for each of its values, with its meaning.
macro_rules! choices {
    ($type:ty { $($value:path = $text:literal, $about:literal;)+ }) => {
        impl crate::config::setting::Setting for $type {
            fn kind() -> crate::config::setting::Kind {
                crate::config::setting::Kind::Choice(&[$(($text, $about)),+])
            }

            fn read(
                value: &crate::config::setting::Value<'_>,
                _: &std::path::Path,
                report: &mut crate::config::report::Report,
            ) -> Option<$type> {
                let text = crate::config::values::choice(value, &[$($text),+], report)?;
                Self::literal(&crate::config::setting::Literal::Text(text))
            }

            fn write(&self) -> Option<crate::config::setting::Written> {
                let text = match self {
                    $($value => $text,)+
                    #[allow(unreachable_patterns, reason = "some of these enums may grow")]
                    _ => return None,
                };
                Some(crate::config::setting::Written::Value(text.into()))
            }

            fn literal(literal: &crate::config::setting::Literal) -> Option<$type> {
                match literal {
                    $(crate::config::setting::Literal::Text($text) => Some($value),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {about_presence, choices, initial, presence, require, settings};
