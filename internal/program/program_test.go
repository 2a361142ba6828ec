package program

import (
	"strings"
	"testing"
)

func TestLogger(t *testing.T) {
	tests := []struct{ format, level, want, err string }{
		{"xml", "info", "", "--log-format xml: must be text or json"},
		{"text", "loud", "", "--log-level loud: must be debug, info, warn or error"},
		{"text", "info", `level=INFO msg=told`, ""},
		{"json", "debug", `"msg":"told"`, ""},
		{"text", "error", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.format+" "+tt.level, func(t *testing.T) {
			var out strings.Builder
			log, err := Logger(&out, tt.format, tt.level)
			if err != nil {
				if err.Error() != tt.err {
					t.Fatalf("error %q, want %q", err, tt.err)
				}
				return
			}
			log.Info("told")
			if tt.err != "" || !strings.Contains(out.String(), tt.want) || (tt.want == "") != (out.Len() == 0) {
				t.Errorf("log %q, want %q in it", out.String(), tt.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	if Version() == "" {
		t.Error("no version")
	}
}
