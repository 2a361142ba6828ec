package reporttest

import (
	"strings"
	"testing"
)

// What the other tests rely on: the browser's console is heard.
func TestConsoleIsHeard(t *testing.T) {
	said, shot := open(t, []byte(`<!DOCTYPE html><title>x</title><p>words</p><script>console.error("broken on purpose")</script>`))
	if !strings.Contains(said, "CONSOLE") || !strings.Contains(said, "broken on purpose") {
		t.Errorf("the console is not heard: %s", said)
	}
	if n := len(Colors(shot)); n < 2 {
		t.Errorf("%d colours in the screenshot", n)
	}
}

func TestLoads(t *testing.T) {
	for _, bad := range []string{
		`<script>x</script>`, `<img src="http://example.com/x">`, `<a href="//x">`, `<p onclick="x">`, `<style>@import "x"</style>`,
		`background: url(x)`, `<IFRAME>`, `<link href="x.css">`,
	} {
		if !loads.MatchString(bad) {
			t.Errorf("not found: %s", bad)
		}
	}
	for _, good := range []string{`<link rel="icon" href="data:,">`, `<p class="note">one = "two"</p>`, `&lt;script&gt;`} {
		if loads.MatchString(good) {
			t.Errorf("found: %s", good)
		}
	}
}
