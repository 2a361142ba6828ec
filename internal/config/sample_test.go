package config

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// sample reads a file that users are told to start from.
func sample[T any](t testing.TB, name string, parse func(string, io.Reader) (T, error)) T {
	t.Helper()
	path := filepath.Join("../../docs/samples", name)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := parse(path, f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
