package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// filePath reads the path of a file that lies beside this one or is named in full.
func (it item) filePath() string {
	path := it.str("a path")
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(it.f.name), path)
}

// readRegular returns the first bytes of a file, at most limit.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() { // a pipe would make the program wait, a device never end
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return data, nil
}
