import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['node_modules', 'dist', '.minivoice', 'coverage'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'env',
          message: 'control/config.ts is the one reader of the environment.',
        },
      ],
      eqeqeq: 'error',
      // prettier breaks everything else. Test names, SQL and messages stay whole, so that they can be searched for.
      'max-len': [
        'error',
        { code: 110, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true },
      ],
    },
  },
  {
    files: [
      'control/config.ts',
      'control/main.ts',
      'control/reseal.ts',
      'cli/**',
      'test/**',
      'examples/**',
      'freeswitch/embedded/**',
    ],
    rules: { 'no-restricted-properties': 'off' },
  },
);
