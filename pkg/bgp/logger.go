package bgp

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// sentUpdate is the message that GoBGP v4.8.0 logs, at debug level, right after the write of an UPDATE to a neighbor's
// socket returned (pkg/server/fsm.go, sendMessageloop). It is the one place where GoBGP tells which prefixes have left
// and when: its counters tell only how many messages did, and Adj-RIB-Out is recomputed from policy, so it proves nothing.
// The tests fail when a new version of GoBGP changes the message.
const sentUpdate = "sent update"

// receivedNotification is the message for a NOTIFICATION; a Cease may tell why in words (RFC 9003).
const receivedNotification = "received notification"

// gobgpHandler is a slog.Handler that passes GoBGP's log on, one level lower than GoBGP says (what is a warning to a
// router's operator is a detail here: the speaker logs sessions itself), and hands every written UPDATE to onSent.
type gobgpHandler struct {
	next   slog.Handler
	onSent func(at time.Time, neighbor netip.Addr, u update)
	onText func(neighbor netip.Addr, communication string)
	peer   netip.Addr // from the attribute "Key" of a neighbor's logger
}

func (h *gobgpHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *gobgpHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelDebug {
		if r.Message == sentUpdate && h.peer.IsValid() {
			h.onSent(r.Time, h.peer, updateOf(r))
		}
		return nil
	}
	if r.Message == receivedNotification && h.peer.IsValid() {
		h.onText(h.peer, communication(r))
	}
	r.Level -= 4
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h *gobgpHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.next = h.next.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == "Key" {
			n.peer, _ = netip.ParseAddr(a.Value.String())
		}
	}
	return &n
}

func (h *gobgpHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.next = h.next.WithGroup(name)
	return &n
}

// communication returns what the sender of a Cease said, made safe for a log line; "" when nothing.
func communication(r slog.Record) (text string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "Communicated-Reason" {
			text = strings.Map(printable, strings.ToValidUTF8(a.Value.String(), "?"))
		}
		return true
	})
	return text
}

func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return '?'
	}
	return r
}

// An update is one UPDATE message that was written. What it says of the announced prefixes is in the form of
// Attributes.onWire.
type update struct {
	announced, withdrawn []netip.Prefix
	says                 Attributes
}

// updateOf reads the attributes of a sentUpdate record.
func updateOf(r slog.Record) (u update) {
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case []bgp.PathNLRI:
			if a.Key == "withdrawals" {
				u.withdrawn = append(u.withdrawn, prefixesOf(v)...)
			} else {
				u.announced = append(u.announced, prefixesOf(v)...)
			}
		case []bgp.PathAttributeInterface:
			u.says = attrsOf(v)
			for _, attr := range v {
				switch mp := attr.(type) {
				case *bgp.PathAttributeMpReachNLRI:
					u.announced = append(u.announced, prefixesOf(mp.Value)...)
				case *bgp.PathAttributeMpUnreachNLRI:
					u.withdrawn = append(u.withdrawn, prefixesOf(mp.Value)...)
				}
			}
		}
		return true
	})
	return u
}

func prefixesOf(nlris []bgp.PathNLRI) []netip.Prefix {
	l := make([]netip.Prefix, 0, len(nlris))
	for _, n := range nlris {
		if p, ok := n.NLRI.(*bgp.IPAddrPrefix); ok {
			l = append(l, p.Prefix)
		}
	}
	return l
}
