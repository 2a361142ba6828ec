package lab

import (
	"context"
	"fmt"
	"log/slog"
	"os"
)

// RunBIRD runs bird with /etc/bird/bird.conf and ends it when ctx is done; birdc finds it at its usual place. It fails
// when bird ends by itself. Call it from the main thread, in the mount and network namespaces of the node.
func RunBIRD(ctx context.Context, log *slog.Logger) error {
	if err := os.MkdirAll("/run/bird", 0o755); err != nil {
		return err
	}
	d := newDaemons()
	defer d.stop()
	_, err := d.start("bird", "-f", "-c", "/etc/bird/bird.conf", "-s", "/run/bird/bird.ctl")
	if err != nil {
		return fmt.Errorf("bird: %w", err)
	}
	if err := d.listening(ctx, "/run/bird/bird.ctl"); err != nil {
		return err
	}
	log.Info("bird is up")
	return d.run(ctx)
}
