package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	rows := []row{
		{Load: "one name", Server: "echo", Samples: []sample{{QPS: 200000, CPU: 5, Memory: 9, P50: 10, P99: 20}, {QPS: 100000, CPU: 7, Memory: 9, P50: 12, P99: 22}, {QPS: 300000, CPU: 6, Memory: 9, P50: 11, P99: 21}}},
		{Load: "one name", Server: "edgedns", Samples: []sample{{QPS: 100000, Lost: 1, Wrong: 2}, {QPS: 200000, Lost: 3, Wrong: 4}}},
	}
	var b strings.Builder
	if err := printTable(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := `
  one name     q/s     min     max  x echo  x gdnsd  us CPU/query  p50 us  p99 us  MB  lost  wrong
      echo  200000  100000  300000    1.00        -          6.00      11      21   9     0      0
   edgedns  150000  100000  200000    0.75        -          0.00       0       0   0     4      6
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := rightAnswers(rows); err == nil || err.Error() != "6 wrong answers" {
		t.Errorf("%v, want 6 wrong answers", err)
	}
}

// Each server has its own port, and every name as many addresses as the generator wants.
func TestContent(t *testing.T) {
	ports := map[int]bool{}
	for _, s := range servers("benchdns", "bin") {
		if ports[s.port] {
			t.Errorf("%s shares its port", s.name)
		}
		ports[s.port] = true
	}
	c := testContent()
	if len(c.Services) != names {
		t.Errorf("%d services, want %d", len(c.Services), names)
	}
	for _, sv := range c.Services {
		if len(sv.Endpoints) != perName || sv.Answers != perName {
			t.Fatalf("%s has %d endpoints and answers %d", sv.Name, len(sv.Endpoints), sv.Answers)
		}
	}
}
