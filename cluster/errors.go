package cluster

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// fail builds the typed error of this package.
func fail(op, object string, cause error, hint string) error {
	return &redoubt.Error{Op: op, Object: object, Err: cause, Hint: hint}
}

func invalid(op, object, why string) error {
	return fail(op, object, fmt.Errorf("%s: %w", why, redoubt.ErrInvalid), "")
}
