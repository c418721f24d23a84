//! Databases on a libSQL server.

use clap::Args;

use crate::values::{self, Named};

/// How to reach the servers.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOptions {
    /// Read the token for the server of the database NAME (`default` if omitted) from this file. It
    /// is read again when the server refuses it, so that it can be replaced while the server runs.
    /// [env: MILLPOND_DB_TOKEN, or MILLPOND_DB_TOKEN_NAME: the token itself]
    #[arg(long, value_name = "[NAME=]PATH", value_parser = values::named)]
    db_token_file: Vec<Named>,

    /// Reach servers on other machines by `http:` too. Anyone on the network between can then read
    /// and change what is sent, the token too.
    #[arg(long, hide_short_help = true)]
    allow_plain_http: bool,
}

#[cfg(feature = "libsql")]
mod libsql {
    use std::env;

    use millpond_libsql::PoolBuilder;
    use millpond_pool::Pool;

    use super::ServerOptions;
    use crate::failure::Failure;
    use crate::values::DEFAULT;

    impl ServerOptions {
        /// Open a pool of connections to the server at `url`, which has the database `name`. Blocks
        /// until the server answers.
        pub(crate) fn open(
            &self,
            name: &str,
            url: &str,
            builder: PoolBuilder,
        ) -> Result<Pool, Failure> {
            let builder = builder.allow_plain_http(self.allow_plain_http);
            let file = self.db_token_file.iter().find(|file| file.name == name);
            let builder = match (file, token(name)) {
                (Some(file), _) => builder.token_file(&file.path),
                (None, Some(token)) => builder.token(token),
                (None, None) => builder,
            };
            builder
                .open_blocking(url)
                .map_err(|error| Failure::mistake(error.to_string()))
        }
    }

    fn token(name: &str) -> Option<String> {
        let variable = match name {
            DEFAULT => "MILLPOND_DB_TOKEN".to_string(),
            name => {
                let name = name.to_ascii_uppercase().replace('-', "_");
                format!("MILLPOND_DB_TOKEN_{name}")
            }
        };
        env::var(variable).ok().filter(|token| !token.is_empty())
    }
}
