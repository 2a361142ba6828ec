package health

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// explainTLS says what is wrong with a certificate, nil when err is about something else.
func explainTLS(err error) error {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &invalid):
		return explainInvalid(invalid)
	case errors.As(err, &name):
		return fmt.Errorf("certificate is not for %q but for %s", name.Host, names(name.Certificate))
	case errors.As(err, &authority):
		return fmt.Errorf("certificate of %q is signed by an unknown authority, %q", subject(authority.Cert), authority.Cert.Issuer.CommonName)
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("answered without TLS")
	default:
		return nil
	}
}

func explainInvalid(err x509.CertificateInvalidError) error {
	if err.Reason != x509.Expired {
		return fmt.Errorf("certificate of %q is not valid: %w", subject(err.Cert), err)
	}
	// Go names both with one reason.
	if now := time.Now(); now.Before(err.Cert.NotBefore) {
		return fmt.Errorf("certificate of %q is not valid before %s", subject(err.Cert), day(err.Cert.NotBefore))
	}
	return fmt.Errorf("certificate of %q expired on %s", subject(err.Cert), day(err.Cert.NotAfter))
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func subject(c *x509.Certificate) string {
	return cmp.Or(c.Subject.CommonName, strings.Join(c.DNSNames, " "), "nobody")
}

// names lists who a certificate is for; it is foreign text and may be long.
func names(c *x509.Certificate) string {
	const most = 5
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) > most {
		return fmt.Sprintf("%q and %d more", all[:most], len(all)-most)
	}
	return fmt.Sprintf("%q", all)
}
