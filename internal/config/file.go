package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A file collects everything that is wrong with one file, so that a person mends it in one go.
type file struct {
	name     string
	problems []problem
}

type problem struct {
	line, column int
	text         string // item: rule
}

// parse reads one file with read, which reports problems through the items it is given. It returns a value only when
// there are none.
func parse[T any](name string, r io.Reader, read func(item) T) (T, error) {
	f := &file{name: name}
	v := read(f.root(r))
	if err := f.err(); err != nil {
		var none T
		return none, err
	}
	return v, nil
}

func (f *file) add(line, column int, format string, args ...any) {
	f.problems = append(f.problems, problem{max(line, 1), max(column, 1), fmt.Sprintf(format, args...)})
}

// err returns all problems, one a line, in the order of the file; nil when there are none.
func (f *file) err() error {
	slices.SortStableFunc(f.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var errs []error
	for _, p := range f.problems {
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", f.name, p.line, p.column, p.text))
	}
	return errors.Join(errs...)
}
