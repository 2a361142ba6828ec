package main

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int{"": 0, "200MB": 200 << 20, "1GB": 1 << 30, "64GB": 64 << 30} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"200", "MB", "-1MB", "0MB", "65GB", "1TB", "1.5GB", "9999999999999999999GB"} {
		if _, err := parseSize(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
