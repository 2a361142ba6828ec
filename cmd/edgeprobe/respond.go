package main

import (
	"errors"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/probe"
)

// respondFlags are those of `edgeprobe respond`.
type respondFlags struct {
	listen    []string
	site      string
	port      uint16
	ballast   string
	logFormat string
	logLevel  string
}

func newRespond() *cobra.Command {
	var f respondFlags
	cmd := &cobra.Command{
		Use:   "respond --site NAME [--listen ADDR[:PORT]]...",
		Short: "Answer probes with the name of the site, over UDP and TCP",
		Long: `Answer probes with the name of the site, over UDP and TCP on the same port.

An address to listen on need not be on the host yet. Replies leave from the address that the request came to.`,
		Example: `  edgeprobe respond --site mec-1 --listen [2001:db8:80::80]:7000 --listen 192.0.2.80
  edgeprobe respond --site laptop                      # all addresses, port 7000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return respond(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.listen, "listen", nil, "`ADDR[:PORT]` to listen on; repeatable (default: all addresses)")
	flags.StringVar(&f.site, "site", "", "`NAME` of the site: up to 32 printable ASCII characters")
	flags.Uint16Var(&f.port, "port", probe.DefaultPort, "port of addresses that name none")
	flags.StringVar(&f.ballast, "ballast", "", "hold so much memory, e.g. 200MB: to measure how long the death of a big process takes")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func respond(cmd *cobra.Command, f respondFlags) error {
	log, err := program.Logger(cmd.ErrOrStderr(), f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	addrs, err := f.addresses()
	if err != nil {
		return err
	}
	if f.site == "" {
		return errors.New("--site is missing: the name that answers shall carry")
	}
	if err := takeBallast(f.ballast); err != nil {
		return err
	}
	r, err := probe.NewResponder(probe.ResponderConfig{Site: f.site, Listen: addrs, Log: log})
	if err != nil {
		return err
	}
	log.Info("edgeprobe respond", "version", program.Version(), "site", f.site, "listen", addrs)
	return r.Run(cmd.Context())
}

func (f respondFlags) addresses() ([]netip.AddrPort, error) {
	if f.port == 0 {
		return nil, errors.New("--port 0: want 1 to 65535")
	}
	if len(f.listen) == 0 {
		return []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv6Unspecified(), f.port), netip.AddrPortFrom(netip.IPv4Unspecified(), f.port),
		}, nil
	}
	var addrs []netip.AddrPort
	for _, text := range f.listen {
		a, err := parseAddress("--listen", text, f.port)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
