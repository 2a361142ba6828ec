package config

import (
	"fmt"
	"strings"
)

// maxPassword is what the kernel takes as a TCP MD5 key (TCP_MD5SIG_MAXKEYLEN).
const maxPassword = 80

// password reads a TCP MD5 key from the file that the item names. Its content is in no error.
func password(it item) string {
	path := it.filePath()
	if path == "" {
		return ""
	}
	key, err := readPassword(path)
	if err != nil {
		it.bad("%v", err)
	}
	return key
}

func readPassword(path string) (string, error) {
	data, err := readRegular(path, maxPassword+3) // the longest key, its line end, one byte too many
	if err != nil {
		return "", err
	}
	return trimPassword(path, string(data))
}

func trimPassword(path, data string) (string, error) {
	key := strings.TrimSuffix(strings.TrimSuffix(data, "\n"), "\r")
	switch {
	case key == "":
		return "", fmt.Errorf("%s is empty: write the password into it", path)
	case len(key) > maxPassword:
		return "", fmt.Errorf("%s is longer than the %d bytes that TCP MD5 takes", path, maxPassword)
	case strings.ContainsAny(key, "\r\n\x00"):
		return "", fmt.Errorf("%s holds more than one line", path)
	default:
		return key, nil
	}
}
