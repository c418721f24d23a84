package main

import (
	"context"
	"database/sql"
	"strings"
)

// links is the table of links.
type links struct{ db *sql.DB }

type link struct {
	id, visits int64
	url        string
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

// count returns how often a link was visited.
func (l links) count(ctx context.Context, id int64) (visits int64, err error) {
	err = l.db.QueryRowContext(ctx, "SELECT visits FROM links WHERE id = ?", id).Scan(&visits)
	return visits, err
}

// top returns the links that are visited most.
func (l links) top(ctx context.Context) ([]link, error) {
	rows, err := l.db.QueryContext(ctx, "SELECT id, url, visits FROM links ORDER BY visits DESC, id LIMIT 10")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var top []link
	for rows.Next() {
		var next link
		if err := rows.Scan(&next.id, &next.url, &next.visits); err != nil {
			return nil, err
		}
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
