package millpond

import "strings"

// firstWord returns the first word of SQL text in upper case, after blanks and comments. SQLite reads
// a byte order mark as a blank.
func firstWord(query string) string {
	for {
		query = strings.TrimLeft(query, " \t\r\n\f;\ufeff")
		switch {
		case strings.HasPrefix(query, "--"):
			_, query, _ = strings.Cut(query, "\n")
		case strings.HasPrefix(query, "/*"):
			_, query, _ = strings.Cut(query, "*/")
		default:
			end := 0
			for end < len(query) && (query[end]|0x20 >= 'a' && query[end]|0x20 <= 'z') {
				end++
			}
			return strings.ToUpper(query[:end])
		}
	}
}

// begins returns whether SQL text may open a transaction.
func begins(query string) bool {
	word := firstWord(query)
	return word == "BEGIN" || word == "SAVEPOINT"
}

// reads returns whether a statement that yields rows certainly writes nothing, by its first word.
func reads(query string) bool {
	switch firstWord(query) {
	case "SELECT", "VALUES", "PRAGMA", "EXPLAIN":
		return true
	}
	return false
}

// maybeScript returns whether SQL text may be more or less than one statement: whether anything
// follows a semicolon, be it within a string, or it is empty. One statement may run as a script too.
func maybeScript(query string) bool {
	_, rest, found := strings.Cut(query, ";")
	return found && strings.Trim(rest, " \t\r\n\f;") != "" || firstWord(query) == ""
}
