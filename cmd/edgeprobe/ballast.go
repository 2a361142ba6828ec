package main

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxBallast bounds it: more is a slip of the finger.
const maxBallast = 64 << 30

// takeBallast takes so much memory and never gives it back, e.g. "200MB" or "1GB": a process that dies frees its memory
// before its sockets, and how long that takes is worth measuring. Empty: none.
func takeBallast(size string) error {
	n, err := parseSize(size)
	if err != nil || n == 0 {
		return err
	}
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("--ballast %s: %w", size, err)
	}
	for i := 0; i < n; i += 4096 {
		memory[i] = 1 // a page is there once it is written
	}
	return nil
}

func parseSize(text string) (bytes int, err error) {
	if text == "" {
		return 0, nil
	}
	for _, unit := range []struct {
		name  string
		bytes int
	}{{"GB", 1 << 30}, {"MB", 1 << 20}} {
		digits, ok := strings.CutSuffix(text, unit.name)
		if n, err := strconv.Atoi(digits); ok && err == nil && n > 0 && n <= maxBallast/unit.bytes {
			return n * unit.bytes, nil
		}
	}
	return 0, fmt.Errorf("--ballast %s: want a size like 200MB or 1GB, at most %dGB", text, maxBallast>>30)
}
