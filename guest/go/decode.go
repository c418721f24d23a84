package millpond

import (
	"database/sql/driver"
	"encoding/binary"
	"math"
)

// decoder reads the values of a page.
type decoder struct {
	bytes []byte
	width int
}

func newDecoder(page []byte) (decoder, error) {
	if len(page) == 0 {
		return decoder{}, nil
	}
	if len(page) < 4 {
		return decoder{}, errForm()
	}
	return decoder{page[4:], int(binary.LittleEndian.Uint32(page))}, nil
}

func (d *decoder) atEnd() bool { return len(d.bytes) == 0 }

// row reads one row. Blobs are not copied.
func (d *decoder) row(row []driver.Value) error {
	if len(row) != d.width {
		return errForm()
	}
	for index := range row {
		code := d.take(1)
		if code == nil {
			return errForm()
		}
		switch code[0] {
		case codeInteger, codeReal:
			bytes := d.take(8)
			if bytes == nil {
				return errForm()
			}
			number := binary.LittleEndian.Uint64(bytes)
			if code[0] == codeReal {
				row[index] = math.Float64frombits(number)
			} else {
				row[index] = int64(number)
			}
		case codeText, codeBlob:
			size := d.take(4)
			if size == nil {
				return errForm()
			}
			bytes := d.take(int(binary.LittleEndian.Uint32(size)))
			if bytes == nil {
				return errForm()
			}
			if code[0] == codeBlob {
				row[index] = bytes
			} else {
				row[index] = string(bytes)
			}
		case codeNull:
			row[index] = nil
		default:
			return errForm()
		}
	}
	return nil
}

// take returns the next bytes, or nil if there are fewer.
func (d *decoder) take(count int) []byte {
	if count < 0 || count > len(d.bytes) {
		return nil
	}
	taken := d.bytes[:count:count]
	d.bytes = d.bytes[count:]
	return taken
}

func errForm() error {
	return newError(KindOther, "the host sent rows that are not of the contract's form")
}
