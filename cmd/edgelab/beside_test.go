package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrograms(t *testing.T) {
	for _, tc := range []struct {
		words string
		want  [][]string
		ok    bool
	}{
		{words: "", ok: true},
		{words: "a", want: [][]string{{"a"}}, ok: true},
		{words: "a -x 1 -- b -- c y", want: [][]string{{"a", "-x", "1"}, {"b"}, {"c", "y"}}, ok: true},
		{words: "-- a"},
		{words: "a -- -- b"},
	} {
		t.Run(tc.words, func(t *testing.T) {
			got, err := programs(strings.Fields(tc.words))
			if (err == nil) != tc.ok {
				t.Fatalf("err = %v", err)
			}
			if diff := cmp.Diff(tc.want, got); tc.ok && diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A program that cannot be started ends the others; a program that ends by itself ends nothing.
func TestBeside(t *testing.T) {
	t.Parallel()
	err := beside(t.Context(), [][]string{{"sleep", "3600"}, {"/no/such/program"}})
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("err = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	fifo := filepath.Join(t.TempDir(), "told")
	done := make(chan error, 1)
	go func() {
		done <- beside(ctx, [][]string{{"true"}, {"sh", "-c", "trap 'echo bye > " + fifo + "; exit' TERM; echo hi > " + fifo + ".up; while :; do sleep 0.01; done"}})
	}()
	for !exists(fifo + ".up") {
		select {
		case err := <-done:
			t.Fatalf("ended early: %v", err)
		default:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !exists(fifo) {
		t.Error("the program was not asked to end")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
