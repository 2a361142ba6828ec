package main

import (
	"io"
	"os"
)

// openOutput opens what a flag names: a file, stdout for "-", nothing for "".
func openOutput(name string, stdout io.Writer) (io.WriteCloser, error) {
	switch name {
	case "":
		return keptOpen{io.Discard}, nil
	case "-":
		return keptOpen{stdout}, nil
	default:
		return os.Create(name)
	}
}

// keptOpen is a writer that belongs to somebody else.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }
