//! The options of a statement.

use super::wit;

/// How a statement reads and binds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) read_big_ints: bool,
    pub(super) return_arrays: bool,
    pub(super) allow_bare: bool,
    pub(super) allow_unknown: bool,
}

impl Options {
    pub(super) const DEFAULT: Options = Options {
        read_big_ints: false,
        return_arrays: false,
        allow_bare: true,
        allow_unknown: false,
    };

    /// These options, overridden by those set in `options`.
    pub(super) fn with(self, options: &wit::StatementOptions) -> Options {
        let bare = options.allow_bare_named_parameters;
        let unknown = options.allow_unknown_named_parameters;
        Options {
            read_big_ints: options.read_big_ints.unwrap_or(self.read_big_ints),
            return_arrays: options.return_arrays.unwrap_or(self.return_arrays),
            allow_bare: bare.unwrap_or(self.allow_bare),
            allow_unknown: unknown.unwrap_or(self.allow_unknown),
        }
    }
}
