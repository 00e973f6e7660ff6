"""Operations on conda environments of a cluster."""
