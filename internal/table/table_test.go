package table

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	t.Parallel()
	got := Text("NAME STATE REASON", [][]string{{"a", "up", "is\n well"}, {"longer", "", "so"}})
	want := "NAME    STATE  REASON\na       up     is well\nlonger  -      so\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := Text("NAME", nil); got != "" {
		t.Errorf("without rows: %q", got)
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59900 * time.Millisecond: "59s", 61 * time.Second: "1m1s", 47*time.Hour + 59*time.Minute: "47h59m", 49 * time.Hour: "2d",
	} {
		if got := Ago(now.Add(-d), now); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	if got := Ago(time.Time{}, now); got != "-" {
		t.Errorf("unknown: %s", got)
	}
}
