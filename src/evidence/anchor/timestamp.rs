//! Time-stamp authorities.
