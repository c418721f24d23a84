//! What a statement is.
//!
//! The server parses them again, and refuses a text with more than one. So what is misread here is
//! refused there; what must never happen is that a statement which writes is taken for one that
//! reads.

use millpond_pool::{Error, ErrorKind};

use super::token::{Kind, Token};
use super::{names, parameters};

/// What a statement does to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    /// It has a word that writes where it may be a name: the server knows.
    Unsure,
    Writes,
}

/// What a statement does to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    None,
    Begin,
    Commit,
    Rollback,
    /// `SAVEPOINT`, which begins one where none is open.
    Savepoint,
    /// `RELEASE`, which may commit one.
    Release,
    /// `ROLLBACK TO`.
    RollbackTo,
}

/// What a pragma is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pragma {
    None,
    Reads,
    /// It sets what holds anyhow: nothing is sent.
    Holds,
    /// `user_version`.
    Defines,
    /// `defer_foreign_keys`, which stays with the stream.
    Stays,
}

/// The functions that tell of what the connection did before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Functions {
    pub(crate) last_insert_rowid: bool,
    pub(crate) changes: bool,
    pub(crate) total_changes: bool,
}

/// One statement of a text.
#[derive(Clone, Debug)]
pub(crate) struct Statement<'a> {
    /// From its first word to its last, without the `;`.
    pub(crate) sql: &'a str,
    /// Where it begins in the whole text, in bytes.
    pub(crate) start: usize,
    pub(crate) effect: Effect,
    pub(crate) control: Control,
    pub(crate) pragma: Pragma,
    pub(crate) functions: Functions,
    /// It makes, alters or drops a table, an index, a view or a trigger.
    pub(crate) defines: bool,
    /// Every row that it changes is one that it inserts: not so for an upsert.
    pub(crate) inserts: bool,
    /// It names a table that is the host's.
    reserved: bool,
    /// The parameters' names, with their prefix, in the order of positional values.
    pub(crate) parameters: Vec<Option<&'a str>>,
    /// The text as it is sent, where the server could not bind the parameters of this one.
    numbered: Option<String>,
    /// Why no server runs it for a guest.
    refusal: Option<(ErrorKind, String)>,
}

impl<'a> Statement<'a> {
    pub(super) fn new(
        sql: &'a str,
        start: usize,
        tokens: &[Token<'a>],
    ) -> Result<Statement<'a>, Error> {
        let names = parameters::names(tokens).map_err(|error| error.at(start))?;
        let mut statement = Statement {
            sql,
            start,
            effect: Effect::Writes,
            control: Control::None,
            pragma: Pragma::None,
            functions: Functions::default(),
            defines: false,
            inserts: inserts(tokens),
            reserved: false,
            numbered: parameters::numbered(sql, start, tokens, &names),
            parameters: names,
            refusal: None,
        };
        statement.read_names(tokens);
        statement.read_verb(tokens);
        Ok(statement)
    }

    /// What is refused whatever the grant says: see the crate's documentation.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.refusal {
            Some((kind, message)) => Err(Error::new(*kind, message).at(self.start)),
            None if self.reserved && self.effect != Effect::Reads => Err(Error::new(
                ErrorKind::NotAuthorized,
                "tables whose names begin with `millpond_` are the host's",
            )
            .at(self.start)),
            None => Ok(()),
        }
    }

    /// The text to send.
    pub(crate) fn sent(&self) -> &str {
        self.numbered.as_deref().unwrap_or(self.sql)
    }

    /// The parameters' names, if they must be sent with the values.
    pub(crate) fn names(&self) -> Option<&[Option<&'a str>]> {
        let by_name = self.numbered.is_none() && self.parameters.iter().any(parameters::is_named);
        by_name.then_some(self.parameters.as_slice())
    }

    fn refuse(&mut self, kind: ErrorKind, message: String) {
        self.refusal.get_or_insert((kind, message));
    }

    fn unsupported(&mut self, what: &str) {
        self.refuse(
            ErrorKind::Unsupported,
            format!("a libSQL server has no {what}"),
        );
    }

    fn read_names(&mut self, tokens: &[Token<'a>]) {
        for (index, token) in tokens.iter().enumerate() {
            let Some(name) = token.name() else { continue };
            self.reserved |= names::is_reserved(&name);
            if names::is_refused_table(&name) {
                self.refuse(
                    ErrorKind::NotAuthorized,
                    format!("{name} is not for guests"),
                );
            }
            if !tokens.get(index + 1).is_some_and(|next| next.is_mark("(")) {
                continue;
            }
            let is = |function: &str| name.eq_ignore_ascii_case(function);
            self.functions.last_insert_rowid |= is("last_insert_rowid");
            self.functions.changes |= is("changes");
            self.functions.total_changes |= is("total_changes");
            if is("load_extension") {
                self.unsupported("extensions for guests to load");
            } else if index > 0 && tokens[index - 1].is("USING") {
                // A module, whose table is being made.
            } else if names::is_refused_function(&name) {
                let message = format!("the function {name} is not for guests");
                self.refuse(ErrorKind::NotAuthorized, message);
            }
        }
    }

    fn read_verb(&mut self, tokens: &[Token<'a>]) {
        let Some(verb) = tokens.first() else { return };
        let word = verb.text.to_ascii_uppercase();
        let second = tokens.get(1);
        match word.as_str() {
            "SELECT" | "VALUES" => self.effect = Effect::Reads,
            "WITH" => self.effect = effect_after_with(tokens),
            "INSERT" | "REPLACE" | "UPDATE" | "DELETE" => {}
            "CREATE" | "DROP" | "ALTER" => self.read_definition(tokens),
            "EXPLAIN" => self.read_explained(tokens),
            "PRAGMA" => self.read_pragma(tokens),
            "BEGIN" => {
                self.control = Control::Begin;
                let deferred =
                    second.is_none_or(|word| word.is_one_of(&["DEFERRED", "TRANSACTION"]));
                self.effect = if deferred {
                    Effect::Reads
                } else {
                    Effect::Writes
                };
            }
            "COMMIT" | "END" => self.control_of(Control::Commit),
            "ROLLBACK" if tokens.iter().any(|token| token.is("TO")) => {
                self.control_of(Control::RollbackTo);
            }
            "ROLLBACK" => self.control_of(Control::Rollback),
            "SAVEPOINT" => self.control_of(Control::Savepoint),
            "RELEASE" => self.control_of(Control::Release),
            "ATTACH" | "DETACH" | "VACUUM" | "ANALYZE" | "REINDEX" => self.unsupported(&word),
            _ => self.refuse(
                ErrorKind::Sql,
                format!("near \"{}\": syntax error", verb.text),
            ),
        }
    }

    /// Of a statement that ends or begins a transaction: it writes nothing by itself.
    fn control_of(&mut self, control: Control) {
        self.control = control;
        self.effect = Effect::Reads;
    }

    fn read_definition(&mut self, tokens: &[Token<'a>]) {
        self.defines = true;
        let is_temporary = |token: &Token<'_>| token.is_one_of(&["TEMP", "TEMPORARY"]);
        let create = tokens.first().is_some_and(|verb| verb.is("CREATE"));
        if create && tokens.get(1).is_some_and(is_temporary) {
            return self.unsupported("temporary tables, views, indexes or triggers");
        }
        // `temp.name`, where the object's name is: all that comes before it are keywords.
        let mut objects = tokens.iter().skip_while(|token| {
            token.is_one_of(&[
                "ALTER", "CREATE", "DROP", "EXISTS", "IF", "INDEX", "NOT", "TABLE", "TRIGGER",
                "UNIQUE", "VIEW", "VIRTUAL",
            ])
        });
        let schema = objects.next().and_then(Token::name);
        let qualifies = objects.next().is_some_and(|dot| dot.is_mark("."));
        if qualifies && schema.is_some_and(|schema| schema.eq_ignore_ascii_case("temp")) {
            return self.unsupported("temporary tables, views, indexes or triggers");
        }
        if !tokens.get(1).is_some_and(|word| word.is("VIRTUAL")) {
            return;
        }
        let using = tokens.iter().skip_while(|token| !token.is("USING")).nth(1);
        match using.and_then(Token::name) {
            Some(module) if names::is_module(&module) => {}
            Some(module) => self.refuse(
                ErrorKind::NotAuthorized,
                format!("virtual tables of {module} are not for guests"),
            ),
            None => {}
        }
    }

    /// An `EXPLAIN` runs nothing, but for some pragmas, which act as they are compiled.
    fn read_explained(&mut self, tokens: &[Token<'a>]) {
        self.effect = Effect::Reads;
        let mut inner = tokens
            .iter()
            .skip_while(|token| token.is_one_of(&["EXPLAIN", "QUERY", "PLAN"]));
        if inner.next().is_some_and(|verb| verb.is("PRAGMA")) {
            self.unsupported("EXPLAIN of a pragma");
        }
    }

    fn read_pragma(&mut self, tokens: &[Token<'a>]) {
        // `PRAGMA [main.]name [= value | (value)]`
        let mut rest = tokens.get(1..).unwrap_or_default();
        if let [schema, dot, ..] = rest
            && dot.is_mark(".")
        {
            if !schema.is("main") {
                return self.unsupported("database but `main`");
            }
            rest = &rest[2..];
        }
        let Some(name) = rest.first().and_then(Token::name) else {
            return self.refuse(ErrorKind::Sql, "a pragma has no name".to_owned());
        };
        let value = match rest.get(1..) {
            Some([]) | None => None,
            Some([mark, value @ ..]) if mark.is_mark("=") => Some(value),
            Some([open, value @ .., close]) if open.is_mark("(") && close.is_mark(")") => {
                Some(value)
            }
            Some(_) => return self.refuse(ErrorKind::Sql, "a pragma is not understood".to_owned()),
        };
        let on = |value: &[Token<'_>]| match value {
            [value] => {
                let text = value.text.trim_matches(['\'', '"']);
                let on = ["1", "ON", "YES", "TRUE"];
                on.iter().any(|on| text.eq_ignore_ascii_case(on))
            }
            _ => false,
        };
        let is = |pragma: &str| name.eq_ignore_ascii_case(pragma);
        let reads = names::is_reading_pragma(&name, value.is_some());
        match value {
            _ if reads => {
                self.pragma = Pragma::Reads;
                self.effect = Effect::Reads;
            }
            Some(value) if is("foreign_keys") && on(value) => {
                self.pragma = Pragma::Holds;
                self.effect = Effect::Reads;
            }
            Some(_) if is("user_version") => {
                self.pragma = Pragma::Defines;
                self.defines = true;
            }
            Some(_) if is("defer_foreign_keys") => {
                self.pragma = Pragma::Stays;
                self.effect = Effect::Reads;
            }
            _ => self.unsupported(&format!("pragma {name} for guests")),
        }
    }
}

/// A query with common tables reads, unless a word that writes stands outside of all parentheses:
/// then it may be the verb, or the name of such a table.
fn effect_after_with(tokens: &[Token<'_>]) -> Effect {
    let (mut depth, mut selects, mut writes) = (0_usize, false, false);
    for token in tokens {
        match token.text {
            "(" if token.kind == Kind::Other => depth += 1,
            ")" if token.kind == Kind::Other => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ => {
                selects |= token.is_one_of(&["SELECT", "VALUES"]);
                writes |= token.is_one_of(&["DELETE", "INSERT", "REPLACE", "UPDATE"]);
            }
        }
    }
    match (selects, writes) {
        (true, false) => Effect::Reads,
        (true, true) => Effect::Unsure,
        (false, _) => Effect::Writes,
    }
}

fn inserts(tokens: &[Token<'_>]) -> bool {
    let has = |word: &str| tokens.iter().any(|token| token.is(word));
    let replaces = |pair: &[Token<'_>]| pair[0].is("REPLACE") && pair[1].is("INTO");
    (has("INSERT") || tokens.windows(2).any(replaces)) && !has("UPDATE")
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
