package millpond

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net/url"
	"strings"
)

func init() { sql.Register("millpond", Driver{}) }

// Driver is the driver that this package registers as "millpond".
type Driver struct{}

// Open gets a connection. See [NewConnector] for the form of the name.
func (d Driver) Open(name string) (driver.Conn, error) {
	connector, err := d.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	return connector.Connect(context.Background())
}

// OpenConnector is [NewConnector].
func (Driver) OpenConnector(name string) (driver.Connector, error) { return NewConnector(name) }

// Connector gets connections to one database, for [sql.OpenDB].
type Connector struct {
	database string
	access   uint32
	mode     uint32
}

// NewConnector returns a connector for a data source name: the name of a database that the host
// granted, such as "default", and options after a question mark, as other SQLite drivers have them:
//
//   - mode=ro: get connections that only read. They never wait for a writer. mode=rw is the
//     default.
//   - _txlock=immediate: transactions take their turn to write when they begin. Use it if most of
//     them write. _txlock=deferred is the default.
//
// Any other option is an error. The host is asked for nothing.
func NewConnector(name string) (*Connector, error) {
	database, options, _ := strings.Cut(name, "?")
	values, err := url.ParseQuery(options)
	if err != nil {
		return nil, newError(KindOther, "the options of the data source name: %v", err)
	}
	connector := &Connector{database: database, access: readWrite, mode: deferred}
	for option, given := range values {
		switch option + "=" + given[len(given)-1] {
		case "mode=ro":
			connector.access = readOnly
		case "mode=rw":
			connector.access = readWrite
		case "_txlock=immediate":
			connector.mode = immediate
		case "_txlock=deferred":
			connector.mode = deferred
		default:
			return nil, newError(KindOther, "the data source name has an unknown option: %q; "+
				"use mode=ro, mode=rw, _txlock=immediate or _txlock=deferred", option+"="+given[len(given)-1])
		}
	}
	return connector, nil
}

// Driver returns the driver.
func (*Connector) Driver() driver.Driver { return Driver{} }

// Connect gets a connection from the host's pool. It checks ctx, and then blocks until a connection
// is free, up to the host's timeout (10 seconds unless the host chose otherwise): a wait that has
// begun is not interrupted.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !inComponent {
		return nil, errOutside()
	}
	handle, err := getConnection(c.database, c.access)
	if err != nil {
		return nil, err
	}
	return &Conn{handle: handle, mode: c.mode}, nil
}

func errOutside() error {
	return newError(KindUnsupported, "databases exist only in a component: build with GOOS=wasip1 GOARCH=wasm")
}
