"""Tables as people have them: text in many dialects, workbooks and MATLAB's files, told apart and understood."""
