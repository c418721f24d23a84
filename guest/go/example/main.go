// A URL shortener: POST a URL, get a short code.
package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"

	"millpond"
	"millpond/wasihttp"
)

const maxURL = 2000

func main() {
	// The first statement opens it.
	db, err := sql.Open("millpond", "default")
	if err != nil {
		log.Fatal(err)
	}
	links := links{db}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", handle(links.index))
	mux.HandleFunc("POST /{$}", handle(links.shorten))
	mux.HandleFunc("GET /{code}", handle(links.follow))
	mux.HandleFunc("GET /{code}/visits", handle(links.visits))
	wasihttp.Handle(mux)
}

// status is an error that tells the client what it did wrong.
type status struct {
	code    int
	message string
}

func (s status) Error() string { return s.message }

// handle writes the response for an error of a handler.
func handle(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := serve(w, r)
		var refused status
		switch {
		case err == nil:
		case errors.As(err, &refused):
			http.Error(w, refused.message, refused.code)
		case errors.Is(err, sql.ErrNoRows):
			http.Error(w, "No such link", http.StatusNotFound)
		case errors.Is(err, millpond.KindBusy), errors.Is(err, millpond.KindPoolTimeout):
			http.Error(w, "Try again", http.StatusServiceUnavailable)
		default:
			log.Print(err)
			http.Error(w, "The service failed", http.StatusInternalServerError)
		}
	}
}

// read reads the URL to shorten from a request.
func read(r *http.Request) (string, error) {
	refused := status{http.StatusBadRequest, "Send one URL, http: or https:, as the body of the request"}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxURL+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	address, err := url.Parse(text)
	if err != nil || len(body) > maxURL || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return "", refused
	}
	return text, nil
}

// write sends a value as JSON.
func write(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

func (l links) index(w http.ResponseWriter, r *http.Request) error {
	top, err := l.top(r.Context())
	if err != nil {
		return err
	}
	return write(w, map[string]any{"links": top})
}

func (l links) shorten(w http.ResponseWriter, r *http.Request) error {
	address, err := read(r)
	if err != nil {
		return err
	}
	id, err := l.add(r.Context(), address)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	_, err = fmt.Fprintln(w, toCode(id))
	return err
}

func (l links) follow(w http.ResponseWriter, r *http.Request) error {
	address, err := l.visit(r.Context(), toID(r.PathValue("code")))
	if err != nil {
		return err
	}
	http.Redirect(w, r, address, http.StatusFound)
	return nil
}

func (l links) visits(w http.ResponseWriter, r *http.Request) error {
	link, err := l.find(r.Context(), toID(r.PathValue("code")))
	if err != nil {
		return err
	}
	return write(w, link)
}
