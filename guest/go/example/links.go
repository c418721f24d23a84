package main

import (
	"context"
	"database/sql"
	"strings"
)

// links is the table of links.
type links struct{ db *sql.DB }

type link struct {
	Code   string `json:"code"`
	URL    string `json:"url"`
	Visits int    `json:"visits"`
}

// add returns the id of the link to an address: a new one, or the one that exists.
func (l links) add(ctx context.Context, address string) (id int64, err error) {
	err = l.db.QueryRowContext(ctx, `INSERT INTO links (url) VALUES (?)
		ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id`, address).Scan(&id)
	return id, err
}

// visit counts a visit, and returns the address.
func (l links) visit(ctx context.Context, id int64) (address string, err error) {
	err = l.db.QueryRowContext(ctx, "UPDATE links SET visits = visits + 1 WHERE id = ? RETURNING url", id).Scan(&address)
	return address, err
}

func (l links) find(ctx context.Context, id int64) (link, error) {
	found := link{Code: toCode(id)}
	err := l.db.QueryRowContext(ctx, "SELECT url, visits FROM links WHERE id = ?", id).Scan(&found.URL, &found.Visits)
	return found, err
}

// top returns the links that are visited most.
func (l links) top(ctx context.Context) ([]link, error) {
	rows, err := l.db.QueryContext(ctx, "SELECT id, url, visits FROM links ORDER BY visits DESC, id LIMIT 100")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	top := []link{}
	for rows.Next() {
		var id int64
		var next link
		if err := rows.Scan(&id, &next.URL, &next.Visits); err != nil {
			return nil, err
		}
		next.Code = toCode(id)
		top = append(top, next)
	}
	return top, rows.Err()
}

const digits = "0123456789abcdefghijkmnopqrstuvwxyz" // without l, which looks like 1

// toCode returns a link's id as its short code.
func toCode(id int64) string {
	var code []byte
	for ; id > 0; id /= int64(len(digits)) {
		code = append([]byte{digits[id%int64(len(digits))]}, code...)
	}
	return string(code)
}

// toID returns a short code as the link's id; 0, which no link has, for anything else.
func toID(code string) int64 {
	id := int64(0)
	for _, digit := range code {
		index := strings.IndexRune(digits, digit)
		if index < 0 || id >= 1<<56 {
			return 0
		}
		id = id*int64(len(digits)) + int64(index)
	}
	return id
}
