//! Reads SQL as far as tests must: its statements, and what each does.

/// What a statement does to the database or its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Begins a transaction.
    Begin {
        /// With the turn to write.
        writes: bool,
    },
    Commit,
    Rollback,
    /// `SAVEPOINT`, `RELEASE` or `ROLLBACK TO`.
    Savepoint,
    Read,
    Write,
}

impl Verb {
    /// Of a text's first statement. A write if unsure.
    pub(crate) fn of(sql: &str) -> Verb {
        let mut tokens = Tokens { rest: sql };
        let first = word(tokens.next());
        let second = word(tokens.clone().next());
        match (&*first, &*second) {
            ("BEGIN", "IMMEDIATE" | "EXCLUSIVE") => Verb::Begin { writes: true },
            ("BEGIN", _) => Verb::Begin { writes: false },
            ("COMMIT" | "END", _) => Verb::Commit,
            ("SAVEPOINT" | "RELEASE", _) => Verb::Savepoint,
            ("ROLLBACK", _) => match tokens.any(|token| word(Some(token)) == "TO") {
                true => Verb::Savepoint,
                false => Verb::Rollback,
            },
            ("" | "SELECT" | "VALUES" | "EXPLAIN", _) => Verb::Read,
            // `PRAGMA name = value` may be stored.
            ("PRAGMA", _) => match tokens.any(|token| token == Token::Mark('=')) {
                true => Verb::Write,
                false => Verb::Read,
            },
            ("WITH", _) => after_with(tokens),
            _ => Verb::Write,
        }
    }

    /// Whether it begins or ends a transaction or a savepoint.
    pub(crate) fn is_control(self) -> bool {
        !matches!(self, Verb::Read | Verb::Write)
    }
}

/// What a statement does that begins with `WITH`.
fn after_with(tokens: Tokens<'_>) -> Verb {
    let mut depth = 0_u32;
    for token in tokens {
        match token {
            Token::Mark('(') => depth += 1,
            Token::Mark(')') => depth = depth.saturating_sub(1),
            Token::Word(_) if depth == 0 => match &*word(Some(token)) {
                "SELECT" | "VALUES" => return Verb::Read,
                "INSERT" | "REPLACE" | "UPDATE" | "DELETE" => return Verb::Write,
                _ => {}
            },
            _ => {}
        }
    }
    Verb::Write
}

/// Whether SQLite has a query plan for such a statement.
pub(crate) fn has_plan(sql: &str) -> bool {
    let planned = [
        "SELECT", "VALUES", "WITH", "INSERT", "REPLACE", "UPDATE", "DELETE",
    ];
    planned.contains(&&*word(Tokens { rest: sql }.next()))
}

/// The statements of a script, without comments around them.
pub(crate) fn statements(script: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut tokens = Tokens { rest: script };
    let mut statement: Option<(usize, Vec<String>)> = None;
    // The last two tokens end a trigger: `; END`.
    let mut last = [Token::Quoted; 2];
    let end_of = |tokens: &Tokens<'_>| script.len() - tokens.rest.len();
    while let Some((at, token)) = tokens.next_at(script) {
        let is_end = token == Token::Mark(';');
        match &mut statement {
            None if is_end => {}
            None => statement = Some((at, vec![word(Some(token))])),
            Some((start, words)) => {
                let ends_trigger = last[0] == Token::Mark(';') && word(Some(last[1])) == "END";
                if is_end && (!is_trigger(words) || ends_trigger) {
                    statements.push(&script[*start..end_of(&tokens) - 1]);
                    statement = None;
                } else if words.len() < 3 {
                    words.push(word(Some(token)));
                }
            }
        }
        last = [last[1], token];
    }
    statements.extend(statement.map(|(start, _)| script[start..].trim_end()));
    statements
}

/// Whether a statement that begins with these words has statements of its own.
fn is_trigger(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    matches!(
        words[..],
        ["CREATE", "TRIGGER", ..] | ["CREATE", "TEMP" | "TEMPORARY", "TRIGGER"]
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword, a name or a number.
    Word(&'a str),
    /// A text or a quoted name.
    Quoted,
    /// Any other character.
    Mark(char),
}

/// A word in upper case; empty for anything else.
fn word(token: Option<Token<'_>>) -> String {
    match token {
        Some(Token::Word(word)) => word.to_ascii_uppercase(),
        _ => String::new(),
    }
}

/// The tokens of SQL, without comments and white space.
#[derive(Clone, Debug)]
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// Take `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// Take what ends with `end`, or everything.
    fn take_to(&mut self, begin: usize, end: &str) {
        let at = self.rest[begin..].find(end);
        self.take(at.map_or(self.rest.len(), |at| begin + at + end.len()));
    }

    /// The next token, and where it begins in `whole`.
    fn next_at(&mut self, whole: &str) -> Option<(usize, Token<'a>)> {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.get(..2) {
                Some("--") => self.take_to(2, "\n"),
                Some("/*") => self.take_to(2, "*/"),
                _ => break,
            }
        }
        let at = whole.len() - self.rest.len();
        let first = self.rest.chars().next()?;
        let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let token = match first {
            '\'' | '"' | '`' | '[' => {
                let end = if first == '[' { ']' } else { first };
                self.take_to(1, end.encode_utf8(&mut [0; 4]));
                Token::Quoted
            }
            c if in_word(c) => {
                let end = self.rest.find(|c| !in_word(c));
                Token::Word(self.take(end.unwrap_or(self.rest.len())))
            }
            c => {
                self.take(c.len_utf8());
                Token::Mark(c)
            }
        };
        Some((at, token))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let whole = self.rest;
        self.next_at(whole).map(|(_, token)| token)
    }
}
