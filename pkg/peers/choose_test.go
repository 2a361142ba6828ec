package peers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

func TestChoose(t *testing.T) {
	t.Parallel()
	a := candidate{"1-b", "mec-1", 3 * ms, 60}
	b := candidate{"1-c", "mec-1", 1 * ms, 20}
	c := candidate{"2-a", "mec-2", 12 * ms, 100}
	d := candidate{"3-a", "mec-3", 14 * ms, 50}
	e := candidate{"3-b", "mec-3", 40 * ms, 50}
	at := func(c candidate, rtt time.Duration) candidate { c.rtt = rtt; return c }
	with := func(c candidate, headroom int) candidate { c.headroom = headroom; return c }
	before := func(site string, t ...Target) choice { return choice{site, t} }
	for _, tt := range []struct {
		name       string
		candidates []candidate
		before     choice
		want       []Target
	}{
		{name: "nobody"},
		{name: "nobody any more", before: before("mec-2", Target{"2-a", 100})},
		{name: "this site first, however far", candidates: []candidate{at(a, 90*ms), c, d}, want: []Target{{"1-b", 60}}},
		{name: "all of this site, by headroom", candidates: []candidate{a, b, c}, want: []Target{{"1-b", 60}, {"1-c", 20}}},
		{name: "no headroom is no reason against this site, and never weight 0", candidates: []candidate{with(a, 0), b, c}, want: []Target{{"1-b", 1}, {"1-c", 20}}},
		{name: "else the nearest site", candidates: []candidate{d, e, c}, want: []Target{{"2-a", 100}}},
		{name: "a site is as far as its nearest host", candidates: []candidate{e, d, at(c, 20*ms)}, want: []Target{{"3-b", 50}, {"3-a", 50}}},
		{name: "equally far: by name", candidates: []candidate{at(d, 12*ms), c}, want: []Target{{"2-a", 100}}},

		{name: "this site is back", candidates: []candidate{a, c}, before: before("mec-2", Target{"2-a", 100}), want: []Target{{"1-b", 60}}},
		{name: "a little nearer is noise", candidates: []candidate{c, at(d, 13*ms)}, before: before("mec-3", Target{"3-a", 50}), want: []Target{{"3-a", 50}}},
		{name: "an eighth nearer is not", candidates: []candidate{at(c, 21*ms), at(d, 24*ms)}, before: before("mec-3", Target{"3-a", 50}), want: []Target{{"2-a", 100}}},
		{name: "less than a millisecond is noise, whatever part it is", candidates: []candidate{at(c, 100*time.Microsecond), at(d, 900*time.Microsecond)}, before: before("mec-3", Target{"3-a", 50}), want: []Target{{"3-a", 50}}},
		{name: "the site before has nobody left", candidates: []candidate{c}, before: before("mec-3", Target{"3-a", 50}), want: []Target{{"2-a", 100}}},
		{name: "one of the site is lost", candidates: []candidate{at(e, 13*ms), c}, before: before("mec-3", Target{"3-a", 50}, Target{"3-b", 50}), want: []Target{{"3-b", 50}}},
		{name: "one of this site is lost", candidates: []candidate{b, c}, before: before("mec-1", Target{"1-b", 60}, Target{"1-c", 20}), want: []Target{{"1-c", 20}}},

		{name: "a third of headroom is noise", candidates: []candidate{with(c, 70)}, before: before("mec-2", Target{"2-a", 100}), want: []Target{{"2-a", 100}}},
		{name: "half is not", candidates: []candidate{with(c, 50)}, before: before("mec-2", Target{"2-a", 100}), want: []Target{{"2-a", 50}}},
		{name: "twice is not", candidates: []candidate{with(c, 40)}, before: before("mec-2", Target{"2-a", 20}), want: []Target{{"2-a", 40}}},
		{name: "twice of nearly nothing is noise", candidates: []candidate{with(c, 5)}, before: before("mec-2", Target{"2-a", 2}), want: []Target{{"2-a", 2}}},
		{name: "from nothing to something", candidates: []candidate{with(c, 10)}, before: before("mec-2", Target{"2-a", 1}), want: []Target{{"2-a", 10}}},
		{name: "to nothing", candidates: []candidate{with(c, 0)}, before: before("mec-2", Target{"2-a", 15}), want: []Target{{"2-a", 1}}},
	} {
		if diff := cmp.Diff(tt.want, choose("mec-1", tt.candidates, tt.before).targets); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestCandidate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pair pair
		want string
	}{
		{pair{reachable: true, state: State{Serving: true}}, ""},
		{pair{reachable: true}, "does not serve it"},
		{pair{reachable: true, state: State{Serving: true, Bridging: true}}, "bridges it to others itself"},
		{pair{}, "has not answered yet"},
		{pair{state: State{Serving: true}, lost: "no answer to 3 requests"}, "no answer to 3 requests"},
		{pair{lost: "no answer to 3 requests", misled: "mec-3-a"}, "mec-3-a answers in its place: the sid or source of the two are mixed up"},
		{pair{lost: "no answer to 3 requests", sending: "no route to host"}, "cannot be asked: no route to host"},
	} {
		if got := tt.pair.why(true, ""); got != tt.want || tt.pair.candidate() != (tt.want == "") {
			t.Errorf("%+v: %q, candidate %t, want %q", tt.pair, got, tt.pair.candidate(), tt.want)
		}
	}
	if got := (&pair{}).why(false, "x"); got != "there is no tunnel to it: the bridge is off, or does not know it" {
		t.Error(got)
	}
	if got := (&pair{}).why(true, "x"); got != "x" {
		t.Error(got)
	}
}
