package config

import (
	"io"
	"strings"
	"testing"
)

// A badCase is a good file with one mistake: old becomes new. want is the whole error but for the file's name.
type badCase struct {
	name, old, new, want string
}

func testBad[T any](t *testing.T, parse func(string, io.Reader) (T, error), base string, cases []badCase) {
	t.Helper()
	if _, err := parse("testdata/f.yaml", strings.NewReader(base)); err != nil {
		t.Fatalf("the file without a mistake: %v", err)
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(base, tt.old) != 1 {
				t.Fatalf("%q is not once in the file", tt.old)
			}
			_, err := parse("testdata/f.yaml", strings.NewReader(strings.Replace(base, tt.old, tt.new, 1)))
			if err == nil {
				t.Fatal("accepted")
			}
			want := "testdata/f.yaml:" + strings.ReplaceAll(tt.want, "\n", "\ntestdata/f.yaml:")
			if got := err.Error(); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
