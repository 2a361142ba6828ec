package health

import (
	"crypto/x509"
	"net/netip"
	"regexp"
	"testing"
	"time"
)

func TestInherit(t *testing.T) {
	target := netip.MustParseAddrPort("[::1]:80")
	check := func(name, path string, rise int) Check {
		return Check{Name: name, Interval: time.Second, Timeout: time.Second, Rise: rise, Fall: 3, Checker: HTTP{Target: target, Path: path, Body: regexp.MustCompile("ok"), Roots: x509.NewCertPool()}}
	}
	old := NewMonitor(nil,
		Service{Name: "a", Checks: []Check{check("http", "/", 3)}},
		Service{Name: "b", Checks: []Check{check("http", "/", 3)}},
		Service{Name: "c", Checks: []Check{check("http", "/", 3), check("more", "/", 3)}},
		Service{Name: "gone", Checks: []Check{check("http", "/", 3)}})
	for i, err := range []error{nil, nil, errTest, nil, nil} {
		c := old.checks()[i]
		for range 3 {
			old.update(func() { old.record(c, err, time.Now()) })
		}
	}
	next := NewMonitor(nil,
		Service{Name: "new", Checks: []Check{check("http", "/", 3)}},
		Service{Name: "b", Checks: []Check{check("http", "/", 3)}},
		Service{Name: "a", Checks: []Check{check("http", "/edited", 3)}},
		Service{Name: "c", Checks: []Check{check("http", "/", 9), check("more", "/", 3)}})
	c := old.checks()[2]
	c.passed, c.took = time.Unix(1000, 0), time.Second
	was := old.Status()
	next.Inherit(old)
	want := []State{Unknown, was[1].State, Unknown, was[2].State}
	for i, got := range next.Status() {
		if got.State != want[i] {
			t.Errorf("%s is %s, want %s", got.Service, got.State, want[i])
		}
	}
	if got := next.Status()[3]; got.Since != was[2].Since || got.Reason != was[2].Reason || got.Checks[0] != was[2].Checks[0] {
		t.Errorf("%+v, want what was known: %+v", got, was[2])
	}
	// An edited schedule holds from now on; one failure is not enough.
	c = next.checks()[3]
	next.update(func() { next.record(c, errTest, time.Now()) })
	if got := next.Status()[3]; got.State != was[2].State || c.Rise != 9 {
		t.Errorf("%s after one failure, rise %d", got.State, c.Rise)
	}
}

type testError string

func (e testError) Error() string { return string(e) }

const errTest = testError("refused")
