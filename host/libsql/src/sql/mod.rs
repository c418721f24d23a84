//! SQL text, as far as it must be understood before it is sent: where each statement ends, what
//! kind of one it is, which parameters it has, and what no server runs for a guest.

mod names;
mod parameters;
mod script;
mod statement;
mod token;

pub(crate) use self::script::Script;
pub(crate) use self::statement::{Control, Effect, Pragma, Statement};
