//! Databases on a libSQL server: how to reach it, and the token that it asks for.
//!
//! A token comes from a file or a variable, never from the command line, which other users of the
//! machine can read. No message contains a token, nor a URL that may have one in it.

use clap::Args;
use millpond_server::config::Database;

use crate::arguments::{self, Named};
use crate::failure::Failure;
use crate::granted::Granted;

#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOptions {
    /// Read the token for the server of the database NAME (`default` if omitted) from this file. It
    /// is read again when the server refuses the token, so you can replace it at any time. [env:
    /// MILLPOND_DB_TOKEN_NAME, or MILLPOND_DB_TOKEN for `default`: the token itself]
    #[arg(long, value_name = "[NAME=]PATH", value_parser = arguments::named)]
    db_token_file: Vec<Named>,

    /// Allow `http:` URLs of servers on other machines. Anyone on the network between can read and
    /// change everything, the token included.
    #[arg(long, hide_short_help = true)]
    allow_plain_http: bool,
}

impl ServerOptions {
    /// Refuse a token for a database that is not on a server, and two for one database.
    pub(crate) fn check(&self, granted: &[Granted]) -> Result<(), Failure> {
        for (index, file) in self.db_token_file.iter().enumerate() {
            let name = &file.name;
            let is_on_server =
                |granted: &Granted| granted.named.name == *name && granted.named.server().is_some();
            if !granted.iter().any(is_on_server) {
                return Err(Failure::mistake(format_args!(
                    "--db-token-file: there is no database `{name}` on a server: grant it with \
                     --db {name}=URL"
                )));
            }
            if self.db_token_file[..index]
                .iter()
                .any(|other| other.name == *name)
            {
                return Err(Failure::mistake(format_args!(
                    "--db-token-file: the database `{name}` has two files: leave one out"
                )));
            }
        }
        Ok(())
    }
}

impl ServerOptions {
    /// Say where the database `name` is, and how to reach it.
    pub(crate) fn configure(&self, name: &str, url: &str, database: &mut Database) {
        database.url = Some(url.into());
        database.allow_plain_http = self.allow_plain_http;
        let file = self.db_token_file.iter().find(|file| file.name == name);
        database.token_file = file.map(|file| file.path.clone());
    }
}
