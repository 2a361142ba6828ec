package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

const (
	// askEvery is how long a prober waits after an answer that is not new.
	askEvery = 200 * time.Microsecond
	// learnLimit is how long a change may take to be answered.
	learnLimit = 30 * time.Second
	// between two changes, so that they do not meet.
	between = 20 * time.Millisecond
)

// A learn is how long one takes to know what was written to the API. Times are those of one change each, in the same order for
// all, in ms since the request to write left.
type learn struct {
	Who   string    `json:"who"`
	Ready float64   `json:"ready_s,omitempty"` // from its start to right answers for all that it was asked; 0: it is no server
	Times []float64 `json:"ms"`
}

// watcherName is a bare watch of the API: nobody can know sooner.
const watcherName = "a bare watch"

// change replaces the endpoints of one Service after the other, and finds out when a bare watch hears of each, and when each
// server answers with it.
func (w *world) change(all []*server, changes int) ([]learn, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen, err := w.watch(ctx)
	if err != nil {
		return nil, err
	}
	learnt := []learn{{Who: watcherName}}
	var probers []*prober
	for _, s := range all {
		if s.echo {
			continue
		}
		if err := s.signal(syscall.SIGCONT); err != nil {
			return nil, err
		}
		defer func() { _ = s.signal(syscall.SIGSTOP) }()
		p, err := newProber(s.addr())
		if err != nil {
			return nil, err
		}
		defer p.conn.Close()
		probers = append(probers, p)
		learnt = append(learnt, learn{Who: s.name, Ready: s.ready.Seconds()})
	}
	for n := 1; n <= changes; n++ {
		times, err := w.changeOne(rand.IntN(w.services), n, seen, probers)
		if err != nil {
			return nil, err
		}
		for i, t := range times {
			learnt[i].Times = append(learnt[i].Times, float64(t.Microseconds())/1000)
		}
		time.Sleep(between)
	}
	return learnt, nil
}

// changeOne returns how long the watch and each prober took to see change n.
func (w *world) changeOne(service, n int, seen <-chan sighting, probers []*prober) ([]time.Duration, error) {
	type outcome struct {
		at  time.Time
		err error
	}
	outcomes := make([]chan outcome, len(probers))
	began := time.Now()
	for i, p := range probers {
		outcomes[i] = make(chan outcome, 1)
		go func() {
			at, err := p.until(objectName(service)+"."+clusterNames, n)
			outcomes[i] <- outcome{at, err}
		}()
	}
	if err := w.Try(kubetest.Admin, http.MethodPut, slicesPath+"/"+objectName(service), sliceObject(service, n), nil); err != nil {
		return nil, err
	}
	var times []time.Duration
	for s := range seen {
		if s.changes == n {
			times = append(times, s.at.Sub(began))
			break
		}
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("the watch ended")
	}
	for i := range probers {
		o := <-outcomes[i]
		if o.err != nil {
			return nil, o.err
		}
		times = append(times, o.at.Sub(began))
	}
	return times, nil
}

// A sighting is when a watch heard of a change.
type sighting struct {
	changes int
	at      time.Time
}

// watch reads what the API tells of endpoints, and does nothing else.
func (w *world) watch(ctx context.Context) (<-chan sighting, error) {
	stream, err := w.Watch(ctx, slicesPath)
	if err != nil {
		return nil, err
	}
	seen := make(chan sighting, 16)
	go func() {
		defer close(seen)
		defer stream.Close()
		d := json.NewDecoder(stream)
		for {
			var e struct{ Object discoveryv1.EndpointSlice }
			if d.Decode(&e) != nil {
				return
			}
			if a, err := netip.ParseAddr(e.Object.Endpoints[0].Addresses[0]); err == nil {
				seen <- sighting{changesOf(a), time.Now()}
			}
		}
	}()
	return seen, nil
}

// A prober asks a server again and again.
type prober struct{ conn *dns.Conn }

func newProber(addr netip.AddrPort) (*prober, error) {
	conn, err := dns.Dial("udp", addr.String())
	return &prober{conn}, err
}

// until returns when the answer for a name first was that after n changes.
func (p *prober) until(name string, n int) (time.Time, error) {
	for deadline := time.Now().Add(learnLimit); time.Now().Before(deadline); time.Sleep(askEvery) {
		m, err := p.ask(name)
		if err != nil {
			return time.Time{}, err
		}
		for _, r := range m.Answer {
			if a, is := r.(*dns.AAAA); is && changesOf(netip.AddrFrom16([16]byte(a.AAAA))) == n {
				return time.Now(), nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%s: change %d is not answered after %s", name, n, learnLimit)
}

func (p *prober) ask(name string) (*dns.Msg, error) {
	if err := p.conn.SetDeadline(time.Now().Add(learnLimit)); err != nil {
		return nil, err
	}
	if err := p.conn.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeAAAA)); err != nil {
		return nil, err
	}
	return p.conn.ReadMsg()
}

// printLearnt prints a row for each, with what it took longer than the watch, change by change.
func printLearnt(w io.Writer, all []learn) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nms after the write\tp50\tp99\tworst\tafter the watch, p50\tp99\tworst\tready after s\t\n")
	for _, l := range all {
		after := make([]float64, len(l.Times))
		for i := range after {
			after[i] = l.Times[i] - all[0].Times[i]
		}
		ready := "-"
		if l.Ready > 0 {
			ready = fmt.Sprintf("%.1f", l.Ready)
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%s\t\n", l.Who, quantile(l.Times, 0.5), quantile(l.Times, 0.99), quantile(l.Times, 1),
			quantile(after, 0.5), quantile(after, 0.99), quantile(after, 1), ready)
	}
	return t.Flush()
}

// quantile is the nearest rank.
func quantile(all []float64, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
