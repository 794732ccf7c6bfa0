"""How fast a store in S3 takes and gives small pictures, beside other ways to do that."""
