package health

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// How much of a reply is looked at: of a stream, and of a datagram.
const (
	maxReply    = 64 << 10
	maxDatagram = 4 << 10
)

// Check sends Send and waits for one datagram. The socket is connected, so a port that nobody holds is told by the
// target's ICMP at once, not by the timeout; and it is new, so what comes answers this attempt.
func (c UDP) Check(ctx context.Context) error {
	started := time.Now()
	conn, err := c.connect(ctx, unix.SOCK_DGRAM, 0, c.Target)
	if err != nil {
		return explain(ctx, started, err)
	}
	defer conn.close()
	if err := conn.write(ctx, c.Send); err != nil {
		return explain(ctx, started, err)
	}
	reply, err := conn.datagram(ctx)
	if err != nil {
		return explain(ctx, started, err)
	}
	if c.Expect != nil && !c.Expect.Match(reply) {
		return mismatch(reply, c.Expect)
	}
	return nil
}

// mismatch shows the beginning of a reply, quoted: it is another's text and may end in a log.
func mismatch(reply []byte, expect *regexp.Regexp) error {
	const most = 64
	more := ""
	if len(reply) > most {
		reply, more = reply[:most], "..."
	}
	return fmt.Errorf("answered %q%s, which does not match %q", reply, more, expect)
}
