package discovery

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// scanMetrics calls each with the name and the value of every sample of a page whose name is wanted, whatever its labels:
// all that is needed of the text exposition format, at the cost of a look at each line. What nobody wants to know is not
// read, so a mistake in it does no harm. A page is foreign text: any bytes may come.
func scanMetrics(page []byte, wanted func(name []byte) bool, each func(name []byte, value float64)) error {
	for number := 1; len(page) > 0; number++ {
		var line []byte
		line, page, _ = bytes.Cut(page, []byte{'\n'})
		line = bytes.TrimLeft(line, " \t")
		name := line[:nameLength(line)]
		if len(name) == 0 || !wanted(name) {
			continue
		}
		value, err := sampleValue(line[len(name):])
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", number, name, err)
		}
		each(name, value)
	}
	return nil
}

// nameLength is how many octets of line are a metric's name.
func nameLength(line []byte) int {
	for i, c := range line {
		if !isNameByte(c, i == 0) {
			return i
		}
	}
	return len(line)
}

func isNameByte(c byte, first bool) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == ':' || '0' <= c && c <= '9' && !first
}

// sampleValue reads what follows the name: labels, a value, and a time, which is left out, as what may follow it.
func sampleValue(rest []byte) (float64, error) {
	rest = bytes.TrimLeft(rest, " \t")
	if len(rest) > 0 && rest[0] == '{' {
		end := labelsLength(rest)
		if end == 0 {
			return 0, errors.New("labels do not end")
		}
		rest = rest[end:]
	}
	fields := bytes.TrimLeft(rest, " \t")
	if end := bytes.IndexAny(fields, " \t"); end >= 0 {
		fields = fields[:end]
	}
	text := string(fields)
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "pPxX_") { // Go's own forms
		return 0, fmt.Errorf("%.40q is no value", text)
	}
	return value, nil
}

// labelsLength is how many octets rest has up to the brace that ends its labels, 0 if there is none. In quotes, which a
// backslash keeps open, a brace is text.
func labelsLength(rest []byte) int {
	quoted := false
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i + 1
		}
	}
	return 0
}
