package probe

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	msec = int64(time.Millisecond)
	// begin is when the stories of these tests begin.
	begin = 1000 * msec
)

// A reception is one answer of a story; times count from its beginning.
type reception struct {
	seq    uint64
	at     int64 // ms
	site   string
	failed bool
}

// A story is a run without clock and sockets: probe n is sent at n x 10 ms.
type story struct {
	probes  int
	skip    []int
	answers []reception
}

// play tells the story to a tally in the order of time and returns the tally and its events.
func (s story) play(interval time.Duration) (*tally, []Event) {
	t := newTally(interval, usualPoints)
	answers := slices.Clone(s.answers)
	slices.SortStableFunc(answers, func(a, b reception) int { return cmp.Compare(a.at, b.at) })
	var events []Event
	upTo := func(now int64) {
		for len(answers) > 0 && begin+answers[0].at*msec <= now {
			a := answers[0]
			answers = answers[1:]
			at := begin + a.at*msec
			t.tick(at)
			t.receive(answer{a.seq, []byte(a.site), a.failed}, at)
			events = append(events, t.takeEvents(at)...)
		}
		t.tick(now)
		events = append(events, t.takeEvents(now)...)
	}
	for n := range s.probes {
		now := begin + int64(n)*int64(interval)
		upTo(now - 1)
		if slices.Contains(s.skip, n) {
			t.skip(now)
		} else {
			t.send(now, now)
		}
	}
	for now := begin + int64(s.probes)*int64(interval); len(answers) > 0; now += msec {
		upTo(now)
	}
	return t, events
}

func (s story) report(interval time.Duration) Report {
	t, _ := s.play(interval)
	r := Report{Started: time.Unix(0, begin).UTC(), StartMonoNs: begin}
	t.report(&r, interval)
	return r
}

// every answers probes from to before to after 2 ms.
func every(site string, from, to int) (list []reception) {
	for n := from; n < to; n++ {
		list = append(list, reception{seq: uint64(n), at: int64(10*n + 2), site: site})
	}
	return list
}

func join(lists ...[]reception) []reception { return slices.Concat(lists...) }

func TestReports(t *testing.T) {
	t.Parallel()
	at := func(ms int64) time.Time { return time.Unix(0, begin+ms*msec).UTC() }
	// An outage of the probes from to before to, all answered around it.
	between := func(from, to int, fromSite, toSite string) Outage {
		lost := to - from
		return Outage{
			Start: at(int64(10 * from)), End: at(int64(10 * to)), Lost: lost,
			DurationMs: float64(10 * lost), GapMs: float64(10 * (lost + 1)), FromSite: fromSite, ToSite: toSite,
			StartMonoNs:       begin + int64(10*from)*msec,
			LastAnswerMonoNs:  begin + int64(10*(from-1)+2)*msec,
			FirstAnswerMonoNs: begin + int64(10*to+2)*msec,
		}
	}
	startOutage := between(0, 3, "", "a")
	startOutage.GapMs, startOutage.LastAnswerMonoNs = 0, 0
	endOutage := between(7, 10, "a", "")
	endOutage.GapMs, endOutage.FirstAnswerMonoNs = 0, 0
	wholeOutage := between(0, 10, "", "")
	wholeOutage.GapMs, wholeOutage.LastAnswerMonoNs, wholeOutage.FirstAnswerMonoNs = 0, 0, 0
	skippedOutage := between(3, 7, "a", "b")
	skippedOutage.Lost, skippedOutage.DurationMs = 2, 20

	for name, tt := range map[string]struct {
		story story
		want  Report
	}{
		"no probes": {story{}, Report{}},
		"all answered": {
			story{probes: 10, answers: every("a", 0, 10)},
			Report{Sent: 10, Received: 10, BySite: map[string]int{"a": 10}},
		},
		"loss in the middle": {
			story{probes: 10, answers: join(every("a", 0, 4), every("b", 7, 10))},
			Report{Sent: 10, Received: 7, Lost: 3, BySite: map[string]int{"a": 4, "b": 3}, Outages: []Outage{between(4, 7, "a", "b")}},
		},
		"loss at the start": {
			story{probes: 10, answers: every("a", 3, 10)},
			Report{Sent: 10, Received: 7, Lost: 3, BySite: map[string]int{"a": 7}, Outages: []Outage{startOutage}},
		},
		"loss at the end": {
			story{probes: 10, answers: every("a", 0, 7)},
			Report{Sent: 10, Received: 7, Lost: 3, BySite: map[string]int{"a": 7}, Outages: []Outage{endOutage}},
		},
		"nothing answered": {
			story{probes: 10},
			Report{Sent: 10, Lost: 10, Outages: []Outage{wholeOutage}},
		},
		"two outages": {
			story{probes: 10, answers: join(every("a", 0, 2), every("a", 3, 5), every("b", 6, 10))},
			Report{
				Sent: 10, Received: 8, Lost: 2, BySite: map[string]int{"a": 4, "b": 4},
				Outages: []Outage{between(2, 3, "a", "a"), between(5, 6, "a", "b")},
			},
		},
		"site changes without loss": {
			story{probes: 10, answers: join(every("a", 0, 5), every("b", 5, 10))},
			Report{Sent: 10, Received: 10, BySite: map[string]int{"a": 5, "b": 5}},
		},
		"reordered": {
			story{probes: 3, answers: []reception{{seq: 0, at: 45, site: "a"}, {seq: 1, at: 35, site: "a"}, {seq: 2, at: 25, site: "a"}}},
			Report{Sent: 3, Received: 3, BySite: map[string]int{"a": 3}},
		},
		"duplicates, the first counts": {
			story{probes: 2, answers: join(every("a", 0, 2), []reception{{seq: 0, at: 3, site: "b"}, {seq: 1, at: 2500, site: "b"}})},
			Report{Sent: 2, Received: 2, Duplicates: 2, BySite: map[string]int{"a": 2}},
		},
		"late, and late again": {
			story{probes: 10, answers: join(every("a", 0, 4), every("b", 7, 10), []reception{
				{seq: 4, at: 1041, site: "a"}, {seq: 5, at: 1200, site: "a"}, {seq: 5, at: 1201, site: "a"},
			})},
			Report{
				Sent: 10, Received: 7, Lost: 3, Late: 2, Duplicates: 1, BySite: map[string]int{"a": 4, "b": 3},
				Outages: []Outage{between(4, 7, "a", "b")},
			},
		},
		"just in time": {
			story{probes: 1, answers: []reception{{seq: 0, at: 1000, site: "a"}}},
			Report{Sent: 1, Received: 1, BySite: map[string]int{"a": 1}},
		},
		"failed answers are losses": {
			story{probes: 10, answers: join(every("a", 0, 4), every("b", 5, 10), []reception{{seq: 4, at: 41, site: "a", failed: true}})},
			Report{
				Sent: 10, Received: 9, Lost: 1, Failed: 1, BySite: map[string]int{"a": 4, "b": 5},
				Outages: []Outage{between(4, 5, "a", "b")},
			},
		},
		"skipped probes are neither sent nor lost": {
			story{probes: 10, skip: []int{4, 5}, answers: join(every("a", 0, 3), every("b", 7, 10))},
			Report{
				Scheduled: 10, Sent: 8, Received: 6, Lost: 2, BySite: map[string]int{"a": 3, "b": 3},
				Outages: []Outage{skippedOutage},
			},
		},
		"answers to what was not asked": {
			story{probes: 2, skip: []int{1}, answers: []reception{{seq: 0, at: 1, site: "a"}, {seq: 1, at: 12, site: "x"}, {seq: 7, at: 12, site: "x"}}},
			Report{Scheduled: 2, Sent: 1, Received: 1, BySite: map[string]int{"a": 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := tt.want
			want.Scheduled = max(want.Scheduled, want.Sent)
			want.IntervalMs, want.MTTRMs = 10, float64(10*want.Lost)
			want.Started, want.StartMonoNs = at(0), begin
			ignore := cmpopts.IgnoreFields(Report{}, "RTTMs", "RTTBySiteMs", "SendLateMs", "RTTBins", "Series")
			if diff := gocmp.Diff(want, tt.story.report(10*time.Millisecond), ignore, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestReportRTT(t *testing.T) {
	t.Parallel()
	s := story{probes: 4, answers: []reception{
		{seq: 0, at: 1, site: "a"}, {seq: 1, at: 11, site: "a"}, {seq: 2, at: 28, site: "b"}, {seq: 3, at: 1500, site: "b"},
	}}
	r := s.report(10 * time.Millisecond)
	about := cmpopts.EquateApprox(0.01, 0)
	want := map[string]Percentiles{"a": {1, 1, 1, 1}, "b": {8, 8, 8, 8}}
	if diff := gocmp.Diff(want, r.RTTBySiteMs, about); diff != "" {
		t.Errorf("by site (-want +got)\n%s", diff)
	}
	if diff := gocmp.Diff(Percentiles{1, 8, 8, 8}, r.RTTMs, about); diff != "" {
		t.Errorf("of all (-want +got)\n%s", diff)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	slow := func(rtt int64, from, to int) (list []reception) {
		for n := from; n < to; n++ {
			list = append(list, reception{seq: uint64(n), at: int64(10*n) + rtt, site: "a"})
		}
		return list
	}
	for name, tt := range map[string]struct {
		story story
		want  string
	}{
		"all well":   {story{probes: 10, answers: every("a", 0, 10)}, "2 site a #0"},
		"a new site": {story{probes: 10, answers: join(every("a", 0, 5), every("b", 5, 10))}, "2 site a #0; 52 site b #5"},
		"an old answer of the old site comes last": {
			story{probes: 4, answers: []reception{{0, 2, "a", false}, {2, 22, "b", false}, {1, 23, "a", false}, {3, 32, "b", false}}},
			"2 site a #0; 22 site b #2",
		},
		"an outage": {
			story{probes: 20, answers: join(every("a", 0, 4), every("b", 12, 20))},
			"2 site a #0; 40 outage start a #4; 122 outage end b #12; 122 site b #12",
		},
		"one lost": {
			story{probes: 20, answers: join(every("a", 0, 4), every("a", 5, 20))},
			"2 site a #0; 40 outage start a #4; 52 outage end a #5",
		},
		"failed answers are an outage": {
			story{probes: 20, answers: join(every("a", 0, 4), []reception{{4, 41, "a", true}}, every("a", 5, 20))},
			"2 site a #0; 40 outage start a #4; 52 outage end a #5",
		},
		"a long way is no outage":          {story{probes: 60, answers: slow(200, 0, 60)}, "200 site a #0"},
		"nobody answers, known after 1 s":  {story{probes: 120}, "0 outage start  #0"},
		"answers for the first time later": {story{probes: 150, answers: every("a", 120, 150)}, "0 outage start  #0; 1202 outage end a #120; 1202 site a #120"},
		"skipped probes are no outage": {
			story{probes: 20, skip: []int{4, 5, 6, 7, 8}, answers: join(every("a", 0, 4), every("a", 9, 20))},
			"2 site a #0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, events := tt.story.play(10 * time.Millisecond)
			var got []string
			for _, e := range events {
				text := fmt.Sprintf("%d %s %s %s #%d", (e.MonoNs-begin)/msec, e.Event, e.State, e.Site, e.Seq)
				got = append(got, strings.Replace(text, "site  ", "site ", 1))
			}
			if diff := gocmp.Diff(tt.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// randomStory has outages, sites that take turns, skipped probes, answers that are lost, slow, late, doubled or failed.
func randomStory(random *rand.Rand) story {
	s := story{probes: random.IntN(400)}
	site, up := "a", true
	for n := range s.probes {
		if random.IntN(20) == 0 {
			site = string(rune('a' + random.IntN(3)))
		}
		if random.IntN(15) == 0 {
			up = !up
		}
		switch {
		case random.IntN(50) == 0:
			s.skip = append(s.skip, n)
		case up:
			s.answers = append(s.answers, randomAnswers(random, n, site)...)
		}
	}
	return s
}

func randomAnswers(random *rand.Rand, n int, site string) (list []reception) {
	for copies := 1 + random.IntN(6)/5; copies > 0; copies-- {
		rtt := random.Int64N(40)
		if random.IntN(10) == 0 {
			rtt = random.Int64N(1500)
		}
		list = append(list, reception{uint64(n), int64(10*n) + rtt, site, random.IntN(30) == 0})
	}
	return list
}

// A model says what a report must say, from all answers at once instead of one by one.
func model(s story) (r Report) {
	slices.SortStableFunc(s.answers, func(a, b reception) int { return cmp.Compare(a.at, b.at) })
	r = Report{Scheduled: s.probes, BySite: map[string]int{}}
	open := false
	for n := range s.probes {
		if slices.Contains(s.skip, n) {
			continue
		}
		r.Sent++
		first := slices.IndexFunc(s.answers, func(a reception) bool { return a.seq == uint64(n) })
		well := false
		if first >= 0 {
			a := s.answers[first]
			slow := a.at-int64(10*n) > 1000
			well = !slow && !a.failed
			switch {
			case slow:
				r.Late++
			case a.failed:
				r.Failed++
			}
			for _, b := range s.answers[first+1:] {
				if b.seq == uint64(n) {
					r.Duplicates++
				}
			}
			if well {
				r.BySite[a.site]++
			}
		}
		switch {
		case well:
			r.Received++
		case open:
			r.Outages[len(r.Outages)-1].Lost++
			r.Lost++
		default:
			r.Outages = append(r.Outages, Outage{Lost: 1, StartMonoNs: begin + int64(10*n)*msec})
			r.Lost++
		}
		open = !well
	}
	return r
}

func TestReportsAgainstModel(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	options := gocmp.Options{
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreFields(Report{}, "RTTMs", "RTTBySiteMs", "SendLateMs", "RTTBins", "Series", "IntervalMs", "MTTRMs", "Started", "StartMonoNs"),
		cmpopts.IgnoreFields(Outage{}, "Start", "End", "DurationMs", "GapMs", "FromSite", "ToSite", "LastAnswerMonoNs", "FirstAnswerMonoNs"),
	}
	for range 300 {
		s := randomStory(random)
		got := s.report(10 * time.Millisecond)
		if diff := gocmp.Diff(model(s), got, options...); diff != "" {
			t.Fatalf("(-want +got)\n%s\nof %+v", diff, s)
		}
		checkEvents(t, s)
	}
}

// checkEvents holds for every story: outages start and end in turns, and every site event is a change.
func checkEvents(t *testing.T, s story) {
	t.Helper()
	_, events := s.play(10 * time.Millisecond)
	down, site := false, ""
	for _, e := range events {
		switch {
		case e.Event == "site" && (e.Site == site || e.Site == ""):
			t.Fatalf("site %q follows %q in %+v", e.Site, site, s)
		case e.Event == "site":
			site = e.Site
		case (e.State == "start") == down:
			t.Fatalf("outage %s twice in %+v", e.State, s)
		default:
			down = !down
		}
	}
}

// A run of any length takes the same memory: nothing grows but what is bounded.
func TestTallyIsBounded(t *testing.T) {
	t.Parallel()
	tally := newTally(10*time.Millisecond, usualPoints)
	slots := len(tally.slots)
	for n := range 4 * maxOutages { // every other probe is lost
		now := begin + int64(n)*10*msec
		seq := tally.send(now, now)
		if n%2 == 0 {
			tally.receive(answer{seq: seq, site: fmt.Append(nil, n)}, now+msec)
		}
		tally.takeEvents(now)
	}
	var r Report
	tally.report(&r, 10*time.Millisecond)
	if len(r.Outages) != maxOutages || r.MoreOutages != maxOutages {
		t.Errorf("%d outages listed and %d more, want %d and as many", len(r.Outages), r.MoreOutages, maxOutages)
	}
	if len(tally.slots) != slots || len(r.BySite) != maxSites+1 || r.BySite[otherSites] != 2*maxOutages-maxSites {
		t.Errorf("%d slots, %d sites, %d of others", len(tally.slots), len(r.BySite), r.BySite[otherSites])
	}
}

// A stall of everything must not confuse the matching: all that was under way is judged by when it was received.
func TestAnswersReadAfterAStall(t *testing.T) {
	t.Parallel()
	tally := newTally(10*time.Millisecond, usualPoints)
	seq := tally.send(begin, begin)
	tally.tick(begin + 1050*msec)
	tally.receive(answer{seq: seq, site: []byte("a")}, begin+999*msec)
	if tally.received != 1 || tally.lost != 0 {
		t.Errorf("received %d, lost %d; want 1, 0", tally.received, tally.lost)
	}
}

// Even a schedule that no prober keeps must not overrun the memory of probes.
func TestTooManyUnderWay(t *testing.T) {
	t.Parallel()
	tally := newTally(time.Minute, usualPoints)
	n := 3 * len(tally.slots)
	for range n {
		tally.send(begin, begin)
	}
	tally.tick(begin + 30*msec)
	tally.receive(answer{seq: 0}, begin)
	if !tally.receive(answer{seq: uint64(n - 1)}, begin) {
		t.Error("the newest probe is forgotten")
	}
	var r Report
	tally.report(&r, time.Minute)
	if r.Sent != n || r.Received != 1 || r.Lost != n-1 || r.Late != 1 {
		t.Errorf("sent %d, received %d, lost %d, late %d", r.Sent, r.Received, r.Lost, r.Late)
	}
}

func BenchmarkTally(b *testing.B) {
	tally, now, a := newTally(time.Millisecond, usualPoints), begin, answer{site: []byte("mec-1")}
	b.ReportAllocs()
	for b.Loop() {
		now += msec
		a.seq = tally.send(now, now)
		tally.receive(a, now+1000)
	}
}
